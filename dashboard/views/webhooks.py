"""Webhooks: who is told of which events, what came of it, and send it again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from dashboard.page import live_page, need, page_of, query_without, show, tell_outcome
from dashboard.webhook_forms import WebhookForm
from outbox.actors import actor_of
from outbox.exceptions import WebhookInactive, WebhookRefused
from outbox.models import Webhook, WebhookDelivery
from outbox.services.event_body import body_of
from outbox.services.signing import rotate_secret
from outbox.services.webhooks import (
    change_webhook,
    create_webhook,
    delete_webhook,
    ping_webhook,
    redeliver,
    redeliver_failed,
)
from outbox.states import DeliveryStatus

VIEW, CHANGE = "outbox.view_webhook", "outbox.change_webhook"
#: What "send again what failed" reaches back to; older failures are sent one by one.
FAILED_SINCE = timedelta(days=7)


@require_GET
@live_page
def webhooks(request: HttpRequest) -> HttpResponse:
    """List webhooks with how they fare."""
    need(request, VIEW)
    found = Webhook.objects.annotate(
        waiting=Count("deliveries", filter=Q(deliveries__status=DeliveryStatus.PENDING)),
        failed=Count("deliveries", filter=Q(deliveries__status=DeliveryStatus.FAILED)),
    ).order_by("created_at")
    return show(request, "dashboard/webhooks.html", {"webhooks": found})


@never_cache
@live_page
def new_webhook(request: HttpRequest) -> HttpResponse:
    """Create a webhook; the answer shows its secret, this once."""
    need(request, "outbox.add_webhook")
    form = WebhookForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            webhook, secret = create_webhook(**form.cleaned_data, actor=actor_of(request))
        except WebhookRefused as refusal:
            form.refuse(refusal.message, refusal.facts)
        else:
            return _show_secret(request, webhook, secret)
    return show(request, "dashboard/new_webhook.html", {"form": form}, status=422 if form.errors else 200)


@require_GET
@live_page
def webhook(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    """Show one webhook and its log."""
    need(request, VIEW)
    found = get_object_or_404(Webhook, pk=webhook_id)
    wanted = request.GET.get("status", "")
    deliveries = found.deliveries.order_by("-id")
    if wanted in DeliveryStatus.values:
        deliveries = deliveries.filter(status=wanted)
    context = {
        "webhook": found,
        "page": page_of(request, deliveries),
        "query": query_without(request, "page"),
        "wanted": wanted,
        "statuses": DeliveryStatus.choices,
        "failed": found.deliveries.failed().filter(created_at__gte=timezone.now() - FAILED_SINCE).count(),
        "days": FAILED_SINCE.days,
    }
    return show(request, "dashboard/webhook.html", context)


@require_GET
@live_page
def delivery(request: HttpRequest, webhook_id: UUID, delivery_id: int) -> HttpResponse:
    """Show one delivery with each request and answer."""
    need(request, VIEW)
    found = _delivery(webhook_id, delivery_id)
    body = body_of(found.event_id)
    context = {
        "webhook": found.webhook,
        "delivery": found,
        "attempts": found.attempt_list.order_by("-number"),
        "body": None if body is None else body.decode(),
    }
    return show(request, "dashboard/delivery.html", context)


@never_cache
@require_POST
@live_page
def new_secret(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    """Give it a new secret, and show that this once."""
    need(request, CHANGE)
    found = get_object_or_404(Webhook, pk=webhook_id)
    secret = rotate_secret(found, actor=actor_of(request))
    found.refresh_from_db()
    return _show_secret(request, found, secret)


@require_POST
@live_page
def act_on_webhook(request: HttpRequest, webhook_id: UUID, verb: str) -> HttpResponse:
    """Try it out, switch it, send again what failed, delete it."""
    if verb not in VERBS:
        raise Http404
    need(request, "outbox.delete_webhook" if verb == "delete" else CHANGE)
    found = get_object_or_404(Webhook, pk=webhook_id)
    tell_outcome(request, lambda: VERBS[verb](found, actor_of(request)), WebhookRefused, WebhookInactive)
    here = reverse("dashboard:webhook", args=[webhook_id])
    return redirect(reverse("dashboard:webhooks") if verb == "delete" else here)


@require_POST
@live_page
def send_again(request: HttpRequest, webhook_id: UUID, delivery_id: int) -> HttpResponse:
    """Send one delivery again."""
    need(request, CHANGE)
    found = _delivery(webhook_id, delivery_id)

    def again() -> str:
        redeliver(found, actor=actor_of(request))
        return "It is on its way again."

    tell_outcome(request, again, WebhookRefused, WebhookInactive)
    return redirect(reverse("dashboard:delivery", args=[webhook_id, delivery_id]))


def _ping(webhook: Webhook, actor: str) -> str:
    ping_webhook(webhook, actor=actor)
    return "A test event is on its way: it appears in the log."


def _switch_on(webhook: Webhook, actor: str) -> str:
    change_webhook(webhook, actor=actor, active=True)
    return "It is on: it gets the events from now on."


def _switch_off(webhook: Webhook, actor: str) -> str:
    change_webhook(webhook, actor=actor, active=False)
    return "It is off."


def _redeliver_failed(webhook: Webhook, actor: str) -> str:
    count = redeliver_failed(webhook, since=timezone.now() - FAILED_SINCE, actor=actor)
    return f"{count} {'is' if count == 1 else 'are'} on the way again."


def _delete(webhook: Webhook, actor: str) -> str:
    delete_webhook(webhook, actor=actor)
    return "It is deleted, with its log."


VERBS: dict[str, Callable[[Webhook, str], str]] = {
    "ping": _ping,
    "on": _switch_on,
    "off": _switch_off,
    "again": _redeliver_failed,
    "delete": _delete,
}


def _delivery(webhook_id: UUID, delivery_id: int) -> WebhookDelivery:
    found = WebhookDelivery.objects.select_related("webhook")
    return get_object_or_404(found, webhook_id=webhook_id, pk=delivery_id)


def _show_secret(request: HttpRequest, webhook: Webhook, secret: str) -> HttpResponse:
    context: dict[str, Any] = {"webhook": webhook, "secret": secret}
    return show(request, "dashboard/webhook_secret.html", context)
