"""The events that agents publish. The only place that spells them."""

from agents.models import Agent
from agents.states import AgentStatus as A
from outbox.registry import register
from outbox.services import publish

ARRIVALS = {status: f"agent.{status.value}" for status in A}

_DATA = {
    "agent_id": "integer",
    "name": "string",
    "personality": "string",
    "project": "string?",
    "runner_id": "uuid?",
    "status": "string",
    "from": "string",
    "actor": "string",
}
_DESCRIPTIONS = {
    A.SPAWNING: "An agent was created.",
    A.IDLE: "An agent is free for work.",
    A.WORKING: "An agent works.",
    A.PAUSED: "An agent was told to wait.",
    A.COMPLETED: "An agent finished its work.",
    A.ERROR: "An agent's work failed.",
    A.RETIRED: "An agent was taken out of service for good.",
}


def register_types() -> None:
    """Tell the outbox which events there are; called once, when the app is ready."""
    for status, description in _DESCRIPTIONS.items():
        register(ARRIVALS[status], description=description, data=_DATA)


def agent_moved(agent: Agent, start: str, *, actor: str) -> None:
    """Publish that `agent` came from `start` to its present status. A new agent comes from ""."""
    name = ARRIVALS[A(agent.status)]
    publish(
        name,
        aggregate=f"agent:{agent.pk}",
        subject=str(agent.pk),
        routing_key=f"{name}.{agent.name}",
        data={
            "agent_id": agent.pk,
            "name": agent.name,
            "personality": agent.personality.name,
            "project": agent.project.name if agent.project else None,
            "runner_id": str(agent.runner_id) if agent.runner_id else None,
            "status": agent.status,
            "from": start,
            "actor": actor,
        },
    )
