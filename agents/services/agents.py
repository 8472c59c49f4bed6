"""Change what an agent is bound to, and note what it thinks."""

from django.db import transaction

from agents import acts, events
from agents.exceptions import AgentMoveRefused, InvalidAgent
from agents.models import Agent, Thought
from agents.services.check import check
from agents.services.places import open_project
from agents.sql import prune_thoughts
from agents.states import AgentStatus
from agents.transitions import locked_agent


@transaction.atomic
def change_agent(agent_id: int, *, actor: str, project: str | None) -> Agent:
    """Bind an agent to a project, or to none, and return it. Raises InvalidAgent."""
    agent = locked_agent(agent_id)
    if agent.status == AgentStatus.RETIRED:
        raise AgentMoveRefused(f"{agent.name} is retired.", status=agent.status)
    before = agent.project.name if agent.project else None
    agent.project = open_project(project, InvalidAgent)
    agent.save(update_fields=["project"])
    acts.on_agent("change", agent, actor=actor, before={"project": before}, after={"project": project or None})
    events.agent_changed(agent, ["project"], actor=actor)
    return agent


@transaction.atomic
def add_thought(agent_id: int, text: str, *, actor: str) -> Thought:
    """Note what an agent thinks; of each agent the newest are kept. Raises InvalidAgent."""
    agent = locked_agent(agent_id)
    thought = Thought(agent=agent, text=text.strip())
    check(thought, InvalidAgent)
    thought.save()
    prune_thoughts(agent_id, kept=Thought.KEPT)
    events.agent_thought(agent, thought.text, actor=actor)
    return thought
