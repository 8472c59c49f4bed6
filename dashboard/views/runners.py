"""The list of runners, one runner, and its buttons."""

import json
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_GET, require_POST

from dashboard.approval_rows import waiting_of
from dashboard.attempts import output_as_text, present_attempt
from dashboard.changes import FLEET
from dashboard.conversations import Window, conversation_verbs, read_window
from dashboard.filters import RunnerFilter
from dashboard.limit_rows import limit_rows, waits_for_provider
from dashboard.page import live_page, need, page_of, query_without, show, tell_refusal
from dashboard.recordings import recordings_of_runner
from dashboard.replay import HEADLESS
from dashboard.rows import STOPPABLE, observation_of, runner_row, runner_rows, shown_runners
from dashboard.views.operations import batch_verbs
from dashboard.worktrees import worktree_context
from runners.actors import actor_of
from runners.exceptions import NodeUnreachable, RunnerError
from runners.models import Node, Observation, Project, Runner, UsageEntry
from runners.services import pause_runner, restart_runner, resume_runner, stop_runner
from runners.services.limits import shown as shown_limits
from runners.services.provider_limits import start_anyway
from runners.services.queue import queue_position
from runners.services.worktrees import end_worktree
from runners.states import OCCUPYING, TERMINAL, Isolation, RunnerStatus, WorktreeEnd

VERBS = {
    "stop": stop_runner,
    "pause": pause_runner,
    "resume": resume_runner,
    "restart": restart_runner,
    "start_anyway": start_anyway,
}
#: What the page says once the wish is written.
SAID = {
    "stop": "{} was asked to stop.",
    "pause": "{} was asked to pause.",
    "resume": "{} was asked to go on.",
    "restart": "{} is starting again.",
    "start_anyway": "{} waits for its provider no more, only for a place.",
}


@require_GET
@live_page
def runners(request: HttpRequest) -> HttpResponse:
    """List runners, by what the address asks for."""
    wanted = RunnerFilter.from_query(request.GET)
    page = page_of(request, wanted.apply(shown_runners()))
    counts = wanted.without_status().apply(Runner.objects.all()).counts_by_status()
    context = {
        "wanted": wanted,
        "wanted_json": json.dumps(wanted.as_data()),
        "filter_json": json.dumps(wanted.as_filter()),
        "batch_verbs": batch_verbs(request, "runner"),
        "batch_count": page.paginator.count,
        "page": page,
        "rows": runner_rows(page.object_list),
        "pills": _pills(counts),
        "query": query_without(request, "page"),
        "query_without_status": query_without(request, "page", "status"),
        "limits": limit_rows(),
        "projects": Project.objects.values_list("name", flat=True),
        "nodes": Node.objects.values_list("name", flat=True),
        "backends": list(settings.RUNNER_BACKENDS),
    }
    return show(request, "dashboard/runners.html", context, topics=(FLEET,))


def _pills(counts: dict[str, int]) -> list[dict[str, object]]:
    """Return the choices of status with how many runners each would list."""
    active = sum(counts[status] for status in OCCUPYING | {RunnerStatus.QUEUED})
    pills: list[dict[str, object]] = [
        {"value": "", "label": "All", "count": sum(counts.values())},
        {"value": "active", "label": "Active", "count": active},
    ]
    return pills + [
        {"value": status.value, "label": status.label, "count": counts[status], "icon": True} for status in RunnerStatus
    ]


@require_GET
@live_page
def runner(request: HttpRequest, runner_id: UUID) -> HttpResponse:
    """Show one runner: where it stands, what it prints and says, what it uses."""
    found = get_object_or_404(shown_runners().select_related("requested_by"), pk=runner_id)
    session = found.session
    window = read_window(session) if session else Window([])
    context = {
        "runner": found,
        "row": runner_row(found),
        "moves": found.moves.order_by("-id")[:50],
        "session": session,
        "window": window,
        "tab": _tab(request, found, bool(window.items)),
        "can_stop": found.status in STOPPABLE or found.status == RunnerStatus.STOPPING,
        "can_start_anyway": waits_for_provider(found),
        "can_pause": found.status == RunnerStatus.RUNNING,
        "can_resume": found.status == RunnerStatus.PAUSED,
        "is_terminal": found.status in TERMINAL,
        "attempts": found.attempts.select_related("node").order_by("-generation")[:20],
        "limits": shown_limits(found.limits_in_force or found.limits),
        "queue_place": queue_position(found.pk) if found.status == RunnerStatus.QUEUED else None,
        "about": _about(found),
        "approvals": waiting_of([found.pk]),
        **conversation_verbs(session),
        "usage": UsageEntry.objects.filter(runner=found).order_by("-id")[:10],
        **worktree_context(found),
        **recordings_of_runner(found),
    }
    topics: tuple[str, ...] = (f"runner:{found.pk}",)
    return show(
        request, "dashboard/runner.html", context, topics=(*topics, f"session:{session.pk}") if session else topics
    )


def _about(runner: Runner) -> Observation | None:
    """Return what was seen of the runner if that tells what its program is about."""
    seen = observation_of(runner)
    return seen if seen and seen.activity else None


def _tab(request: HttpRequest, found: Runner, talks: bool) -> str:
    """Return the tab to open: a program that prints for programs is read best as a conversation."""
    asked = request.GET.get("tab", "")
    if asked in {"terminal", "conversation"} or (asked == "changes" and found.isolation == Isolation.WORKTREE):
        return asked
    return "conversation" if talks and found.backend in HEADLESS else "terminal"


@require_GET
@xframe_options_sameorigin
@live_page
def output(request: HttpRequest, runner_id: UUID) -> HttpResponse:
    """Show the end of the output as plain text: what a page without JavaScript frames."""
    found = get_object_or_404(Runner, pk=runner_id)
    attempt = present_attempt(runner_id)
    context = {"runner": found, "text": "", "trouble": "" if attempt else "It has no node yet."}
    if attempt is not None:
        try:
            context["text"] = async_to_sync(output_as_text)(attempt)
        except NodeUnreachable as error:
            context["trouble"] = error.message
    return render(request, "dashboard/output.html", context)


@require_POST
@live_page
def steer(request: HttpRequest, runner_id: UUID, verb: str) -> HttpResponse:
    """Stop, pause or resume, and go back to the page the button was on."""
    if verb not in VERBS:
        raise Http404
    need(request, "runners.change_runner")
    found = get_object_or_404(Runner, pk=runner_id)
    try:
        VERBS[verb](found.pk, actor=actor_of(request))
    except RunnerError as error:
        tell_refusal(request, error)
    else:
        messages.success(request, SAID[verb].format(found.name))
    return redirect(reverse("dashboard:runner", args=[runner_id]))


@require_POST
@live_page
def worktree(request: HttpRequest, runner_id: UUID) -> HttpResponse:
    """Ask for an ended runner's worktree to be merged or removed."""
    need(request, "runners.change_runner")
    how = request.POST.get("how", "")
    if how not in {WorktreeEnd.MERGE, WorktreeEnd.REMOVE}:
        raise Http404
    try:
        end_worktree(runner_id, WorktreeEnd(how), actor=actor_of(request))
    except RunnerError as error:
        tell_refusal(request, error)
    else:
        messages.success(request, f"Its worktree was asked to be {how.removesuffix('e')}ed.")
    return redirect(f"{reverse('dashboard:runner', args=[runner_id])}?tab=changes")
