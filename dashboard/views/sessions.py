"""Conversations."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from dashboard import figures
from dashboard.conversations import conversation_verbs
from dashboard.page import live_page, page_of, query_without, show
from dashboard.rows import cost_of, runner_rows, session_row, shown_runners
from dashboard.worktrees import changes_of
from runners.models import Message, Project, Session, UsageEntry

#: Read at once; a longer conversation is read on by its button.
MESSAGES_SHOWN = 200


@require_GET
@live_page
def sessions(request: HttpRequest) -> HttpResponse:
    """List sessions, newest first."""
    found = Session.objects.select_related("project").order_by("-started_at", "-pk")
    project, text = request.GET.get("project", ""), request.GET.get("q", "").strip()[:200]
    if project:
        found = found.filter(project__name=project)
    if text:
        found = found.filter(title__icontains=text)
    page = page_of(request, found)
    context = {
        "page": page,
        "sessions": [(session, session_row(session)) for session in page.object_list],
        "projects": Project.objects.values_list("name", flat=True),
        "project": project,
        "q": text,
        "query": query_without(request, "page"),
    }
    return show(request, "dashboard/sessions.html", context)


@require_GET
@live_page
def session(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """Show one conversation, and what it used."""
    found = get_object_or_404(Session.objects.select_related("project", "resumed_from"), pk=session_id)
    around = _number(request.GET.get("around"))
    before = _end_around(found, around) if around else _number(request.GET.get("before"))
    earlier = found.messages.order_by("-id")
    talk = list((earlier.filter(pk__lt=before) if before else earlier)[:MESSAGES_SHOWN])[::-1]
    context = {
        "session": found,
        "row": session_row(found),
        "talk": talk,
        "last_message": talk[-1].pk if talk else 0,
        "around": around,
        "is_earlier": bool(before),
        "more_before": talk[0].pk if talk and earlier.filter(pk__lt=talk[0].pk).exists() else 0,
        "runners": runner_rows(shown_runners().filter(session=found)),
        "usage": [(entry, _cost(entry)) for entry in found.usage.order_by("id")[:500]],
        "total_cost": cost_of(found),
        "changed": changes_of(found),
        **conversation_verbs(found),
    }
    return show(request, "dashboard/session.html", context, topics=(f"session:{found.pk}",))


@require_GET
@live_page
def messages(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """Return the messages after the last one that the page shows, as a piece of it."""
    found = get_object_or_404(Session, pk=session_id)
    after = _number(request.GET.get("after"))
    talk = list(Message.objects.filter(session=found, pk__gt=after).order_by("id")[:MESSAGES_SHOWN])
    return render(request, "dashboard/_messages.html", {"talk": talk})


def _end_around(session: Session, message_id: int) -> int:
    """Return before which message to read, so that this one stands in the middle; 0: the end is near."""
    following = session.messages.filter(pk__gt=message_id).order_by("pk").values_list("pk", flat=True)
    return next(iter(following[MESSAGES_SHOWN // 2 : MESSAGES_SHOWN // 2 + 1]), 0)


def _cost(entry: UsageEntry) -> str:
    if entry.cost_usd is None and entry.settled_by_id:
        return "in the total"
    return figures.dollars(entry.cost_usd)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 19 else 0
