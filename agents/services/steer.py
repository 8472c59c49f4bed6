"""Pause, resume, kill, revive, retire and delete agents.

Each verb is written for several agents, in one transaction and few statements; for one it is called with one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from agents import acts, events
from agents.exceptions import AgentInUse, AgentMoveRefused
from agents.models import Agent, Assignment, TimeEntry
from agents.services.time import lock_clocks_of, pause_clocks_of, resume_clocks_of
from agents.states import AgentStatus
from agents.transitions import NO_WORK, Work, locked_agents, move_many, no_such_agent, why_not_move
from outbox.services import bunched
from runners.services.steer import pause_runners, resume_runners, stop_runners, why_not_pause, why_not_resume
from runners.several import Several
from runners.transitions import locked_runners

A = AgentStatus
Agents = Several[int, Agent]


@dataclass(frozen=True)
class At:
    """A locked agent, and what it is at."""

    agent: Agent
    assignment: Assignment | None

    @property
    def work(self) -> Work:
        return Work(self.assignment.job_id, self.assignment.runner_id) if self.assignment else NO_WORK


def pause_agent(agent_id: int, *, actor: str) -> Agent:
    """Let an agent wait: an idle one takes no work, a working one's runner is suspended and its clock paused.

    Raises AgentMoveRefused; MoveRefused while its runner cannot be paused.
    """
    return pause_agents([agent_id], actor=actor).only()


@transaction.atomic
def pause_agents(ids: Iterable[int], *, actor: str) -> Agents:
    """Do pause_agent() to several."""
    found, several = _sorted_out(ids, lambda at: why_not_move(at.agent, A.PAUSED))
    lock_clocks_of(_assignments(found))
    found = _without_refused_runners(found, several, why_not_pause)
    _move(found, A.PAUSED, actor=actor, reason=f"paused by {actor}")
    _record("pause", found, actor=actor)
    pause_clocks_of(_assignments(found), actor=actor)
    pause_runners(_runners(found), actor=actor)
    return several


def resume_agent(agent_id: int, *, actor: str) -> Agent:
    """Let a paused agent go on: with its job, or with waiting for one. Raises AgentMoveRefused, MoveRefused."""
    return resume_agents([agent_id], actor=actor).only()


@transaction.atomic
def resume_agents(ids: Iterable[int], *, actor: str) -> Agents:
    """Do resume_agent() to several."""
    paused = frozenset({A.PAUSED})
    found, several = _sorted_out(ids, lambda at: why_not_move(at.agent, A.WORKING if at.assignment else A.IDLE, paused))
    lock_clocks_of(_assignments(found))
    found = _without_refused_runners(found, several, why_not_resume)
    _move([at for at in found if at.assignment], A.WORKING, actor=actor)
    _move([at for at in found if not at.assignment], A.IDLE, actor=actor)
    _record("resume", found, actor=actor)
    resume_clocks_of(_assignments(found), actor=actor)
    resume_runners(_runners(found), actor=actor)
    return several


def kill_agent(agent_id: int, *, actor: str) -> Agent:
    """Stop an agent's runner at once. It is in error until it is revived; its job goes back when the runner has ended.

    Raises AgentMoveRefused if it has nothing running.
    """
    return kill_agents([agent_id], actor=actor).only()


@transaction.atomic
def kill_agents(ids: Iterable[int], *, actor: str) -> Agents:
    """Do kill_agent() to several."""
    found, several = _sorted_out(ids, _why_not_kill)
    _move([at for at in found if at.agent.status == A.PAUSED], A.WORKING, actor=actor)
    _move([at for at in found if at.agent.status != A.ERROR], A.ERROR, actor=actor, reason=f"killed by {actor}")
    _record("kill", found, actor=actor)
    stop_runners(_runners(found), actor=actor, grace_seconds=0)
    return several


def _why_not_kill(at: At) -> AgentMoveRefused | None:
    if at.assignment is None or at.assignment.runner_id is None:
        return AgentMoveRefused(f"{at.agent.name} has nothing running.", status=at.agent.status)
    return None if at.agent.status in {A.PAUSED, A.ERROR} else why_not_move(at.agent, A.ERROR)


def revive_agent(agent_id: int, *, actor: str) -> Agent:
    """Make an agent in error idle again. Raises AgentMoveRefused, also while its last runner has not ended."""
    return revive_agents([agent_id], actor=actor).only()


@transaction.atomic
def revive_agents(ids: Iterable[int], *, actor: str) -> Agents:
    """Do revive_agent() to several."""
    found, several = _sorted_out(ids, _why_not_revive)
    _move(found, A.IDLE, actor=actor)
    _record("revive", found, actor=actor)
    return several


def _why_not_revive(at: At) -> AgentMoveRefused | None:
    if at.assignment is not None:
        return AgentMoveRefused(f"The last runner of {at.agent.name} has not ended yet.", status=at.agent.status)
    return why_not_move(at.agent, A.IDLE, frozenset({A.ERROR}))


def retire_agent(agent_id: int, *, actor: str) -> Agent:
    """Take an agent out of service for good; its records stay. Raises AgentMoveRefused while it works."""
    return retire_agents([agent_id], actor=actor).only()


@transaction.atomic
def retire_agents(ids: Iterable[int], *, actor: str) -> Agents:
    """Do retire_agent() to several."""
    found, several = _sorted_out(ids, _why_not_retire)
    _move(found, A.RETIRED, actor=actor)
    _record("retire", found, actor=actor)
    return several


def _why_not_retire(at: At) -> AgentMoveRefused | None:
    if at.assignment is not None:
        return AgentMoveRefused(f"{at.agent.name} has a job: kill it, or let it finish.", status=at.agent.status)
    return why_not_move(at.agent, A.RETIRED)


def delete_agent(agent_id: int, *, actor: str) -> None:
    """Delete an agent that never worked. Raises AgentInUse: one that did is retired instead, its records stay."""
    delete_agents([agent_id], actor=actor).only()


@transaction.atomic
def delete_agents(ids: Iterable[int], *, actor: str) -> Agents:
    """Do delete_agent() to several."""
    given = list(ids)
    agents = locked_agents(given)
    worked = {
        *Assignment.objects.filter(agent__in=agents).values_list("agent_id", flat=True),
        *TimeEntry.objects.filter(agent__in=agents).values_list("agent_id", flat=True),
    }
    several = Agents()
    for agent_id in given:
        if agent_id not in agents:
            several.refused[agent_id] = no_such_agent(agent_id)
        elif agent_id in worked:
            several.refused[agent_id] = AgentInUse(f"{agents[agent_id].name} has worked: retire it instead.")
        else:
            several.done[agent_id] = agents[agent_id]
    with bunched():
        for agent in several.done.values():
            acts.on_agent("delete", agent, actor=actor)
            events.agent_deleted(agent, actor=actor)
    Agent.objects.filter(pk__in=several.done).delete()
    return several


def _sorted_out(ids: Iterable[int], why_not: Callable[[At], AgentMoveRefused | None]) -> tuple[list[At], Agents]:
    """Lock agents with what they are at, and sort out those that are refused, or not there."""
    given = list(ids)
    agents = locked_agents(given)
    open_ones = Assignment.objects.open().filter(agent__in=agents).select_related("runner", "job")
    assignments = {each.agent_id: each for each in open_ones}
    found, several = [], Agents()
    for agent_id in given:
        if agent_id not in agents:
            several.refused[agent_id] = no_such_agent(agent_id)
            continue
        at = At(agents[agent_id], assignments.get(agent_id))
        refusal = why_not(at)
        if refusal is not None:
            several.refused[agent_id] = refusal
        else:
            several.done[agent_id] = at.agent
            found.append(at)
    return found, several


def _without_refused_runners(
    found: Sequence[At], several: Agents, why_not: Callable[..., Exception | None]
) -> list[At]:
    """Refuse those whose runner would be: an agent and its runner do the same."""
    runners = locked_runners(_runners(found))
    refused = {key: refusal for key, runner in runners.items() if (refusal := why_not(runner))}
    left = []
    for at in found:
        if at.work.runner_id in refused:
            del several.done[at.agent.pk]
            several.refused[at.agent.pk] = refused[at.work.runner_id]
        else:
            left.append(at)
    return left


def _move(found: Sequence[At], to: AgentStatus, *, actor: str, reason: str = "") -> None:
    work: Mapping[int, Work] = {at.agent.pk: at.work for at in found}
    move_many([at.agent for at in found], to, actor=actor, reason=reason, work=work)


def _record(verb: str, found: Sequence[At], *, actor: str) -> None:
    with bunched():
        for at in found:
            acts.on_agent(verb, at.agent, actor=actor)


def _assignments(found: Sequence[At]) -> list[Assignment]:
    return [at.assignment for at in found if at.assignment]


def _runners(found: Sequence[At]) -> list[UUID]:
    return [at.assignment.runner_id for at in found if at.assignment and at.assignment.runner_id]
