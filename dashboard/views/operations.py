"""Operations: what one would do, how far it is, and what came of each item."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from dashboard.changes import FLEET
from dashboard.page import live_page, need, page_of, query_without, show, tell_refusal
from runners.actors import actor_of
from runners.exceptions import InvalidRequest, RunnerError
from runners.models import Operation, OperationItem
from runners.services.operations import Exempt, all_verbs, begin_operation, cancel_operation, preview, verb_named
from runners.services.operations.verbs import Verb
from runners.states import ItemResult

#: Where each noun's items have a page of their own, and where their list is.
PAGES = {
    "runner": ("dashboard:runner", "dashboard:runners"),
    "agent": ("dashboard:agent", "dashboard:agents"),
    "job": ("dashboard:job", "dashboard:jobs"),
}
#: Nouns whose pages are addressed by name.
BY_NAME = frozenset({"agent"})


@require_GET
@live_page
def operations(request: HttpRequest) -> HttpResponse:
    """List operations, newest first."""
    page = page_of(request, Operation.objects.order_by("-created_at", "-pk"))
    context = {
        "page": page,
        "rows": [_row(found) for found in page.object_list],
        "query": query_without(request, "page"),
    }
    return show(request, "dashboard/operations.html", context, topics=(FLEET,))


def batch_verbs(request: HttpRequest, noun: str) -> list[Verb]:
    """Return the verbs that a list offers: those that its reader may do, and that need nothing but the items."""
    return [verb for verb in all_verbs(noun) if not verb.needs and request.user.has_perm(verb.permission)]


@live_page
def new_operation(request: HttpRequest) -> HttpResponse:
    """Show what an operation would do; begin it when that is sent."""
    asked = request.POST if request.method == "POST" else request.GET
    try:
        verb = verb_named(asked.get("verb", ""))
        # Some were chosen on the list, or all that match are meant.
        wanted = {"ids": asked.getlist("ids")} if "ids" in asked else _filter(asked.get("filter", ""))
    except InvalidRequest as refusal:
        tell_refusal(request, refusal)
        return redirect(reverse("dashboard:operations"))
    need(request, verb.permission)
    if request.method == "POST":
        begun = _begin(request, verb, wanted)
        if begun is not None:
            return redirect(reverse("dashboard:operation", args=[begun.pk]))
    return _show_preview(request, verb, wanted)


def _begin(request: HttpRequest, verb: Verb, wanted: Mapping[str, Any]) -> Operation | None:
    """Begin what was shown; None, and the reason on the page, if more matches by now."""
    count = request.POST.get("count", "")
    try:
        return begin_operation(
            verb.name, wanted, actor=actor_of(request), at_most=int(count) if count.isdecimal() else 0
        )
    except RunnerError as refusal:
        tell_refusal(request, refusal)
        return None


def _show_preview(request: HttpRequest, verb: Verb, wanted: Mapping[str, Any]) -> HttpResponse:
    try:
        shown = preview(verb.name, wanted)
    except InvalidRequest as refusal:
        tell_refusal(request, refusal)
        return redirect(reverse("dashboard:operations"))
    context = {
        "verb": verb,
        "shown": shown,
        "exceptions": [(exempt, _page_of(verb.noun, exempt)) for exempt in shown.exceptions],
        "filter_json": json.dumps(wanted),
        "filter_words": in_words(wanted),
        "back": reverse(PAGES[verb.noun][1]) if verb.noun in PAGES else "",
    }
    return show(request, "dashboard/new_operation.html", context)


@require_GET
@live_page
def operation(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Show how far an operation is, and what came of each item."""
    found = get_object_or_404(Operation, pk=operation_id)
    result = request.GET.get("result", "")
    items = found.items.order_by("pk")
    if result in ItemResult.values:
        items = items.filter(result=result)
    page = page_of(request, items, 100)
    row = _row(found)
    context = {
        "operation": found,
        "row": row,
        "page": page,
        "items": [(item, _page_of(row["noun"], item)) for item in page.object_list],
        "results": ItemResult.choices,
        "result": result,
        "query": query_without(request, "page"),
        "may_cancel": found.is_open and request.user.has_perm(row["permission"]),
    }
    return show(request, "dashboard/operation.html", context, topics=(f"operation:{found.pk}",))


@require_POST
@live_page
def cancel(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Leave the rest undone."""
    found = get_object_or_404(Operation, pk=operation_id)
    need(request, verb_named(found.verb).permission)
    try:
        cancel_operation(found.pk, actor=actor_of(request))
    except RunnerError as refusal:
        tell_refusal(request, refusal)
    else:
        messages.success(request, "Cancelled: what was not done yet is left alone.")
    return redirect(reverse("dashboard:operation", args=[operation_id]))


def _row(found: Operation) -> dict[str, Any]:
    """Return what the pages show of an operation."""
    try:
        verb = verb_named(found.verb)
        label, items, permission = verb.label, verb.items, verb.permission
    except InvalidRequest:
        # Of an app that is gone; its records stay.
        label, items, permission = found.verb, "items", ""
    return {
        "operation": found,
        "noun": found.verb.partition(".")[0],
        "title": f"{label} {found.total} {items}",
        "words": in_words(found.filter),
        "permission": permission,
        "percent": round(100 * found.handled / found.total) if found.total else 100,
    }


def _page_of(noun: str, item: Exempt | OperationItem) -> str:
    """Return the address of an item's own page, "" where there is none."""
    if noun not in PAGES:
        return ""
    target_id = item.target_id if isinstance(item, OperationItem) else item.id
    return reverse(PAGES[noun][0], args=[item.name if noun in BY_NAME else target_id])


def _filter(text: str) -> dict[str, Any]:
    try:
        wanted = json.loads(text or "{}")
    except ValueError:
        wanted = None
    if not isinstance(wanted, dict):
        raise InvalidRequest("The filter in the address is no JSON object.", field="filter")
    return wanted


def in_words(wanted: Mapping[str, Any]) -> str:
    """Return a filter as people read it."""
    words = []
    for name, value in wanted.items():
        if name == "open":
            words.append("not ended" if value else "ended")
        elif name == "ids" and isinstance(value, list) and len(value) > 1:
            words.append(f"the {len(value)} chosen")
        else:
            values = value if isinstance(value, list) else [value]
            words.append(f"{name.replace('_', ' ')} {' or '.join(str(one) for one in values)}")
    return ", ".join(words) or "all there are"
