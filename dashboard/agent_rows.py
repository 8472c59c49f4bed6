"""What the pages show of agents, as plain values."""

from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from agents.figures import AgentFigures, figures_of_agents
from agents.models import Agent
from agents.states import AgentStatus
from dashboard import figures

A = AgentStatus
#: Which buttons make sense in which state; the services decide for good. Killing wants a runner besides.
PAUSABLE = frozenset({A.IDLE, A.WORKING})
RETIRABLE = frozenset({A.IDLE, A.PAUSED, A.COMPLETED, A.ERROR})
KILLABLE = frozenset({A.WORKING, A.PAUSED, A.ERROR})


def shown_agents() -> Any:
    """Return agents with everything a row needs."""
    return Agent.objects.select_related("personality", "project").with_current().order_by("name")


def agent_rows(agents: Iterable[Agent]) -> list[dict[str, Any]]:
    """Return the rows of these agents, in four queries; wants shown_agents()."""
    found = list(agents)
    known = figures_of_agents([agent.pk for agent in found])
    return [agent_row(agent, known[agent.pk]) for agent in found]


def agent_row(agent: Any, known: AgentFigures) -> dict[str, Any]:
    current = agent.current[0] if agent.current else None
    return {
        "id": agent.pk,
        "name": agent.name,
        "url": reverse("dashboard:agent", args=[agent.name]),
        "personality": agent.personality.name,
        "project": agent.project.name if agent.project else "",
        "status": agent.status,
        "status_label": agent.get_status_display(),
        "reason": agent.reason,
        "since": agent.status_changed_at,
        "job": current.job if current else None,
        "runner": current.runner if current else None,
        **_figures(known),
        "can_pause": agent.status in PAUSABLE,
        "can_resume": agent.status == A.PAUSED,
        "can_retire": agent.status in RETIRABLE and current is None,
        "can_revive": agent.status == A.ERROR and current is None,
        "can_kill": agent.status in KILLABLE and current is not None and current.runner is not None,
    }


def _figures(known: AgentFigures) -> dict[str, Any]:
    rate = known.success_rate
    return {
        "thought": known.last_thought,
        "completed": known.completed,
        "failed": known.failed,
        "success": figures.NONE if rate is None else figures.percent(100 * rate),
        "time": figures.seconds(known.seconds) if known.seconds else figures.NONE,
        "tokens": figures.tokens(known.tokens),
        "cost": figures.dollars(known.cost_usd, complete=known.cost_complete),
    }
