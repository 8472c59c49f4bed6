"""Conversations."""

import contextlib
import dataclasses
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages as messages_of_django
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from dashboard import figures
from dashboard.approval_rows import waiting_rows
from dashboard.conversations import (
    Wanted,
    contents_of,
    conversation_verbs,
    lineage,
    number,
    read_news,
    read_window,
    time_line,
)
from dashboard.page import PLAYER_POLICY, live_page, need, page_of, query_without, show, tell_refusal
from dashboard.recordings import recordings_of_session
from dashboard.replay import attempts_of, replay_of
from dashboard.rows import cost_of, runner_rows, session_row, shown_runners
from dashboard.worktrees import changes_of
from runners.actors import actor_of
from runners.exceptions import RunnerError, TranscriptError
from runners.models import Message, Project, Runner, Session, UsageEntry
from runners.services.going_on import fork_session, resume_session
from runners.services.transcripts.messages import whole_message
from runners.states import Beginning, Role

GO_ON = {"resume": resume_session, "fork": fork_session}
FORKS: dict[str, dict[str, str]] = {"resume": {}, "fork": {"fork": "1"}}


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
    found = get_object_or_404(Session.objects.select_related("project", "resumed_from", "forked_at"), pk=session_id)
    wanted = Wanted.from_query(request.GET)
    attempts = attempts_of(found)
    replay = replay_of(found, request.GET, attempts)
    if replay is not None and replay.seek and not wanted.around:
        wanted = dataclasses.replace(wanted, around=replay.seek)
    window = read_window(found, wanted)
    context = {
        "session": found,
        "row": session_row(found),
        "approvals": waiting_rows(session=found),
        "wanted": wanted,
        "window": window,
        "live": not window.later and not wanted.filters,
        "time_line": time_line(found, window),
        "contents": contents_of(found),
        "roles": Role.choices,
        "query": query_without(request, "around", "before", "after", "at"),
        "runners": runner_rows(shown_runners().filter(session=found)),
        "usage": [(entry, _cost(entry)) for entry in found.usage.order_by("id")[:500]],
        "total_cost": cost_of(found),
        "changed": changes_of(found),
        **conversation_verbs(found),
        **recordings_of_session(found),
        **lineage(found),
        "attempts": attempts,
        "replay": replay,
    }
    response = show(request, "dashboard/session.html", context, topics=(f"session:{found.pk}",))
    if replay is not None:
        response.headers["Content-Security-Policy"] = PLAYER_POLICY
    return response


@require_GET
@live_page
def messages(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """Return the messages after the last one that the page shows, as a piece of it."""
    found = get_object_or_404(Session, pk=session_id)
    context = {"session": found, "items": read_news(found, number(request.GET.get("after")))}
    return render(request, "dashboard/_messages.html", context)


@require_GET
@live_page
def message(request: HttpRequest, session_id: UUID, message_id: int) -> HttpResponse:
    """Show the whole of one message, however long it is."""
    found = get_object_or_404(Message.objects.select_related("session"), pk=message_id, session=session_id)
    # Without it the page has the beginning, and says how much more there is.
    with contextlib.suppress(TranscriptError):
        found.text, found.tool_input = whole_message(found)
        found.more_characters = 0
    return show(request, "dashboard/message.html", {"message": found, "session": found.session})


@require_POST
@live_page
def go_on(request: HttpRequest, session_id: UUID, verb: str) -> HttpResponse:
    """Say something to the session, or to a fork of it, and show the runner that hears it."""
    if verb not in GO_ON:
        raise Http404
    need(request, "runners.add_runner")
    found = get_object_or_404(Session, pk=session_id)
    said, at = request.POST.get("prompt", ""), number(request.POST.get("at"))
    wishes = {"at_message": at} if at else {}
    try:
        runner = GO_ON[verb](found.pk, prompt=said, actor=actor_of(request), user=request.user, **wishes)
    except RunnerError as error:
        tell_refusal(request, error)
        # With what was typed: it is not to be typed again.
        form = urlencode({"session": found.pk, "prompt": said[:2_000], **({"at": at} if at else {}), **FORKS[verb]})
        return redirect(f"{reverse('dashboard:launch')}?{form}")
    messages_of_django.success(request, _said(runner))
    return redirect(f"{reverse('dashboard:session', args=[runner.session_id])}#news")


def _said(runner: Runner) -> str:
    session = runner.session
    if session is not None and session.began == Beginning.REBUILT and runner.conversation_mode == "new":
        return (
            f"{runner.name} is {runner.status}, in a session that is told the earlier one: {session.rebuilt_because}."
        )
    return f"{runner.name} is {runner.status}."


def _cost(entry: UsageEntry) -> str:
    if entry.cost_usd is None and entry.settled_by_id:
        return "in the total"
    return figures.dollars(entry.cost_usd)
