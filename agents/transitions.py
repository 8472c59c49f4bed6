"""The only writer of an agent's status."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from agents import events
from agents.exceptions import AgentMoveRefused
from agents.models import Agent
from agents.states import AgentStatus, sources


@transaction.atomic
def move(agent_id: int, to: AgentStatus, *, actor: str, **changes: Any) -> Agent:
    """Move an agent to `to` and return it; raise AgentMoveRefused if that is not legal now.

    Status and event commit together or not at all. The agent's row is locked until the transaction ends.
    """
    agent = (
        Agent.objects.select_for_update(of=("self",))
        .select_related("personality", "project")
        .filter(pk=agent_id)
        .first()
    )
    if agent is None:
        raise AgentMoveRefused(f"There is no agent {agent_id}.", agent_id=agent_id)
    start = AgentStatus(agent.status)
    if start not in sources(to):
        raise AgentMoveRefused(f"{agent.name} is {start.value}: it cannot become {to.value}.", status=start.value)
    changes |= {"status": to, "status_changed_at": timezone.now()}
    for name, value in changes.items():
        setattr(agent, name, value)
    agent.save(update_fields=list(changes))
    events.agent_moved(agent, start.value, actor=actor)
    return agent
