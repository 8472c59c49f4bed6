"""Pause, resume, kill, revive and retire agents; and what they think."""

from typing import Any

from django.db import transaction

from agents import acts, events
from agents.exceptions import AgentInUse, AgentMoveRefused, InvalidAgent
from agents.models import Agent, Assignment, Thought
from agents.services.check import check
from agents.services.places import open_project
from agents.services.time import pause_clock_of, resume_clock_of
from agents.sql import prune_thoughts
from agents.states import AgentStatus
from agents.transitions import locked_agent, move
from runners.services import pause_runner, resume_runner, stop_runner
from runners.states import RunnerStatus

A = AgentStatus
S = RunnerStatus


@transaction.atomic
def pause_agent(agent_id: int, *, actor: str) -> Agent:
    """Let an agent wait: an idle one takes no work, a working one's runner is suspended and its clock paused.

    Raises AgentMoveRefused; MoveRefused while its runner cannot be paused.
    """
    assignment = _assignment(locked_agent(agent_id))
    agent = move(agent_id, A.PAUSED, actor=actor, reason=f"paused by {actor}", **_told(assignment))
    acts.on_agent("pause", agent, actor=actor)
    if assignment is not None:
        pause_clock_of(assignment, actor=actor)
        if assignment.runner is not None:
            pause_runner(assignment.runner.pk, actor=actor)
    return agent


@transaction.atomic
def resume_agent(agent_id: int, *, actor: str) -> Agent:
    """Let a paused agent go on: with its job, or with waiting for one. Raises AgentMoveRefused, MoveRefused."""
    assignment = _assignment(locked_agent(agent_id))
    to = A.WORKING if assignment else A.IDLE
    agent = move(agent_id, to, actor=actor, allowed=frozenset({A.PAUSED}), **_told(assignment))
    acts.on_agent("resume", agent, actor=actor)
    if assignment is not None:
        resume_clock_of(assignment, actor=actor)
        if assignment.runner is not None:
            resume_runner(assignment.runner.pk, actor=actor)
    return agent


@transaction.atomic
def kill_agent(agent_id: int, *, actor: str) -> Agent:
    """Stop an agent's runner at once. It is in error until it is revived; its job goes back when the runner has ended.

    Raises AgentMoveRefused if it has nothing running.
    """
    agent = locked_agent(agent_id)
    assignment = _assignment(agent)
    if assignment is None or assignment.runner is None:
        raise AgentMoveRefused(f"{agent.name} has nothing running.", status=agent.status)
    if agent.status == A.PAUSED:
        move(agent_id, A.WORKING, actor=actor, **_told(assignment))
    if agent.status != A.ERROR:
        agent = move(agent_id, A.ERROR, actor=actor, reason=f"killed by {actor}", **_told(assignment))
    acts.on_agent("kill", agent, actor=actor)
    stop_runner(assignment.runner.pk, actor=actor, grace_seconds=0)
    return agent


@transaction.atomic
def revive_agent(agent_id: int, *, actor: str) -> Agent:
    """Make an agent in error idle again. Raises AgentMoveRefused, also while its last runner has not ended."""
    agent = locked_agent(agent_id)
    if _assignment(agent) is not None:
        raise AgentMoveRefused(f"The last runner of {agent.name} has not ended yet.", status=agent.status)
    agent = move(agent_id, A.IDLE, actor=actor, allowed=frozenset({A.ERROR}))
    acts.on_agent("revive", agent, actor=actor)
    return agent


@transaction.atomic
def retire_agent(agent_id: int, *, actor: str) -> Agent:
    """Take an agent out of service for good; its records stay. Raises AgentMoveRefused while it works."""
    agent = locked_agent(agent_id)
    if _assignment(agent) is not None:
        raise AgentMoveRefused(f"{agent.name} has a job: kill it, or let it finish.", status=agent.status)
    agent = move(agent_id, A.RETIRED, actor=actor)
    acts.on_agent("retire", agent, actor=actor)
    return agent


@transaction.atomic
def change_agent(agent_id: int, *, actor: str, project: str | None) -> Agent:
    """Bind an agent to a project, or to none, and return it. Raises InvalidAgent."""
    agent = locked_agent(agent_id)
    if agent.status == A.RETIRED:
        raise AgentMoveRefused(f"{agent.name} is retired.", status=agent.status)
    before = agent.project.name if agent.project else None
    agent.project = open_project(project, InvalidAgent)
    agent.save(update_fields=["project"])
    acts.on_agent("change", agent, actor=actor, before={"project": before}, after={"project": project or None})
    events.agent_changed(agent, ["project"], actor=actor)
    return agent


@transaction.atomic
def delete_agent(agent_id: int, *, actor: str) -> None:
    """Delete an agent that never worked. Raises AgentInUse: one that did is retired instead, its records stay."""
    agent = locked_agent(agent_id)
    if agent.assignments.exists() or agent.time_entries.exists():
        raise AgentInUse(f"{agent.name} has worked: retire it instead.")
    acts.on_agent("delete", agent, actor=actor)
    events.agent_deleted(agent, actor=actor)
    agent.delete()


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


def _assignment(agent: Agent) -> Assignment | None:
    found: Assignment | None = agent.assignments.open().select_related("runner", "job").first()
    return found


def _told(assignment: Assignment | None) -> dict[str, Any]:
    return {"job_id": assignment.job_id, "runner_id": assignment.runner_id} if assignment else {}
