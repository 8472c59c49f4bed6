"""Notifications: who is told of what, what was told, and try it out."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db.models import Count, Max, Prefetch, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from dashboard.notification_forms import RuleRows, TargetForm, rows_of
from dashboard.page import live_page, need, page_of, query_without, show, tell_outcome
from outbox.actors import actor_of
from outbox.exceptions import NotificationRefused
from outbox.models import Notification, NotificationItem, NotificationRule, NotificationTarget
from outbox.notifications.quiet import is_quiet
from outbox.services.targets import delete_target, save_target, try_target
from outbox.services.targets import send_again as again
from outbox.states import NotificationStatus

VIEW, ADD = "outbox.view_notificationtarget", "outbox.add_notificationtarget"
CHANGE, DELETE = "outbox.change_notificationtarget", "outbox.delete_notificationtarget"


@require_GET
@live_page
def notifications(request: HttpRequest) -> HttpResponse:
    """List targets with how they fare, and the latest messages of all."""
    need(request, VIEW)
    found = NotificationTarget.objects.annotate(
        failed=Count("notifications", filter=Q(notifications__status=NotificationStatus.FAILED)),
        last=Max("notifications__settled_at", filter=Q(notifications__status=NotificationStatus.SENT)),
    ).prefetch_related(Prefetch("rules", NotificationRule.objects.order_by("id")))
    now = timezone.now()
    targets = [{"target": target, "quiet": is_quiet(target, now)} for target in found]
    log = Notification.objects.select_related("target").order_by("-id")
    return show(request, "dashboard/notifications.html", {"targets": targets, **_log(request, log)})


@require_GET
@live_page
def target(request: HttpRequest, name: str) -> HttpResponse:
    """Show one target, its rules and its log."""
    need(request, VIEW)
    found = get_object_or_404(NotificationTarget.objects.prefetch_related("rules"), name=name)
    context = {
        "target": found,
        "quiet": is_quiet(found, timezone.now()),
        "waiting": NotificationItem.objects.filter(target=found, notification=None).count(),
        **_log(request, found.notifications.select_related("target").order_by("-id")),
    }
    return show(request, "dashboard/notification.html", context)


@never_cache
@live_page
def new_target(request: HttpRequest) -> HttpResponse:
    """Create a target."""
    need(request, ADD)
    return _edit(request, None)


@never_cache
@live_page
def edit_target(request: HttpRequest, name: str) -> HttpResponse:
    """Change a target: where it leads, what it is told of, and when."""
    need(request, CHANGE)
    return _edit(request, get_object_or_404(NotificationTarget, name=name))


@require_POST
@live_page
def act_on_target(request: HttpRequest, name: str, verb: str) -> HttpResponse:
    """Try it out, switch it, delete it."""
    if verb not in VERBS:
        raise Http404
    need(request, DELETE if verb == "delete" else CHANGE)
    found = get_object_or_404(NotificationTarget, name=name)
    tell_outcome(request, lambda: VERBS[verb](found, actor_of(request)), NotificationRefused)
    return redirect(reverse("dashboard:notifications") if verb == "delete" else _address(found))


@require_POST
@live_page
def send_again(request: HttpRequest, message_id: int) -> HttpResponse:
    """Send a message again that was given up."""
    need(request, CHANGE)
    found = get_object_or_404(Notification.objects.select_related("target"), pk=message_id)

    def send() -> str:
        again(found, actor=actor_of(request))
        return "It is on its way again."

    tell_outcome(request, send, NotificationRefused)
    return redirect(_address(found.target))


def _edit(request: HttpRequest, target: NotificationTarget | None) -> HttpResponse:
    form = TargetForm(request.POST or None, target=target)
    rows = RuleRows(request.POST or None, initial=rows_of(target), prefix="rules")
    if request.method == "POST" and form.is_valid() and rows.is_valid():
        wanted = form.cleaned_data | {"rules": [rule for row in rows if (rule := row.rule())]}
        try:
            saved = save_target(target or NotificationTarget(), actor=actor_of(request), **wanted)
        except NotificationRefused as refusal:
            # A rule's refusal quotes the pattern it is about.
            form.refuse(refusal.message, refusal.facts)
        else:
            messages.success(request, "It is saved. Send a test to see that it arrives.")
            return redirect(_address(saved))
    wrong = bool(form.errors) or (request.method == "POST" and not rows.is_valid())
    context: dict[str, Any] = {"form": form, "rows": rows, "target": target}
    return show(request, "dashboard/notification_form.html", context, status=422 if wrong else 200)


def _log(request: HttpRequest, log: Any) -> dict[str, Any]:
    wanted = request.GET.get("status", "")
    if wanted in NotificationStatus.values:
        log = log.filter(status=wanted)
    return {
        "page": page_of(request, log),
        "query": query_without(request, "page"),
        "wanted": wanted,
        "statuses": NotificationStatus.choices,
    }


def _test(target: NotificationTarget, actor: str) -> str:
    try_target(target, actor=actor)
    return "A test is on its way: the log says what came of it."


def _switch_on(target: NotificationTarget, actor: str) -> str:
    save_target(target, actor=actor, active=True)
    return "It is on: it is told of what happens from now on."


def _switch_off(target: NotificationTarget, actor: str) -> str:
    save_target(target, actor=actor, active=False)
    return "It is off."


def _delete(target: NotificationTarget, actor: str) -> str:
    delete_target(target, actor=actor)
    return "It is deleted, with its log."


VERBS: dict[str, Callable[[NotificationTarget, str], str]] = {
    "test": _test,
    "on": _switch_on,
    "off": _switch_off,
    "delete": _delete,
}


def _address(target: NotificationTarget) -> str:
    return reverse("dashboard:notification_target", args=[target.name])
