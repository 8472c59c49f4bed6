"""Agents: the list, one agent, and its buttons."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from agents.exceptions import AgentError
from agents.models import Agent, Personality
from agents.services import kill_agent, pause_agent, resume_agent, retire_agent, revive_agent, spawn_agents
from agents.states import AgentStatus
from dashboard.agent_rows import agent_rows, shown_agents
from dashboard.changes import FLEET
from dashboard.page import live_page, need, page_of, query_without, show, tell_refusal
from dashboard.rows import runner_rows, shown_runners
from dashboard.views.operations import batch_verbs
from dashboard.workforce_filters import AgentChoices
from dashboard.workforce_forms import SpawnForm
from runners.actors import actor_of
from runners.exceptions import RunnerError
from runners.models import Project

VERBS: dict[str, Callable[..., Agent]] = {
    "pause": pause_agent,
    "resume": resume_agent,
    "kill": kill_agent,
    "revive": revive_agent,
    "retire": retire_agent,
}
SAID = {
    "pause": "{} is paused.",
    "resume": "{} goes on.",
    "kill": "{} was killed: its runner is being stopped, its job goes back on the board.",
    "revive": "{} is idle again.",
    "retire": "{} is retired.",
}
TURNS_SHOWN = 30


@require_GET
@live_page
def agents(request: HttpRequest) -> HttpResponse:
    """List agents, by what the address asks for, as a table or as cards."""
    return _show_agents(request, SpawnForm())


def _show_agents(request: HttpRequest, form: SpawnForm, status: int = 200) -> HttpResponse:
    wanted = AgentChoices.from_query(request.GET)
    page = page_of(request, wanted.apply(shown_agents()))
    counts = wanted.apply(Agent.objects.all(), with_status=False).counts_by_status()
    context = {
        "wanted": wanted,
        "page": page,
        "rows": agent_rows(page.object_list),
        "pills": _pills(counts),
        "filter_json": json.dumps(wanted.as_filter()),
        "batch_verbs": batch_verbs(request, "agent"),
        "batch_count": page.paginator.count,
        "as_cards": request.GET.get("as") == "cards",
        "query": query_without(request, "page"),
        "query_without_status": query_without(request, "page", "status"),
        "query_without_as": query_without(request, "as"),
        "projects": Project.objects.values_list("name", flat=True),
        "personalities": Personality.objects.values_list("name", flat=True),
        "form": form,
        # Not the address of this answer: a refused form is answered at its own.
        "live_path": f"{reverse('dashboard:agents')}?{request.GET.urlencode()}",
    }
    return show(request, "dashboard/agents.html", context, topics=(FLEET,), status=status)


def _pills(counts: dict[str, int]) -> list[dict[str, Any]]:
    rest = [{"value": s.value, "label": s.label, "count": counts[s], "icon": True} for s in AgentStatus]
    return [{"value": "", "label": "All", "count": sum(counts.values())}, *rest]


@require_POST
@live_page
def spawn(request: HttpRequest) -> HttpResponse:
    """Spawn some agents of a personality."""
    need(request, "agents.add_agent")
    form = SpawnForm(request.POST)
    if form.is_valid():
        typed = form.cleaned_data
        try:
            made = spawn_agents(**{**typed, "project": typed["project"] or None}, actor=actor_of(request))
        except AgentError as error:
            form.refuse(error.message, error.facts.get("field"))
        else:
            names = ", ".join(agent.name for agent in made[:3])
            messages.success(request, f"{names}{f' and {len(made) - 3} more' if len(made) > 3 else ''} spawned.")
            return redirect(reverse("dashboard:agents"))
    return _show_agents(request, form, status=422)


@require_GET
@live_page
def agent(request: HttpRequest, name: str) -> HttpResponse:
    """Show one agent: what it thinks, what it did, and what it used."""
    found = get_object_or_404(shown_agents(), name=name)
    turns = list(
        found.assignments.select_related("job", "runner", "personality_version").order_by("-started_at", "-pk")[
            :TURNS_SHOWN
        ]
    )
    context = {
        "agent": found,
        "row": agent_rows([found])[0],
        "thoughts": found.thoughts.order_by("-at", "-pk"),
        "turns": turns,
        "moves": found.moves.order_by("-pk")[:TURNS_SHOWN],
        "rows": runner_rows(shown_runners().filter(pk__in=[turn.runner_id for turn in turns if turn.runner_id])),
    }
    return show(request, "dashboard/agent.html", context, topics=(FLEET,))


@require_POST
@live_page
def steer_agent(request: HttpRequest, name: str, verb: str) -> HttpResponse:
    """Pause, resume, kill, revive or retire, and go back to the agent."""
    if verb not in VERBS:
        raise Http404
    need(request, "agents.change_agent")
    found = get_object_or_404(Agent, name=name)
    try:
        VERBS[verb](found.pk, actor=actor_of(request))
    except (AgentError, RunnerError) as error:
        tell_refusal(request, error)
    else:
        messages.success(request, SAID[verb].format(found.name))
    return redirect(reverse("dashboard:agent", args=[name]))
