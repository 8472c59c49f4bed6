"""Take in agents and their thoughts."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db.models import Exists, OuterRef
from django.utils import timezone

from agents.jsonl.agents import AgentLine
from agents.jsonl.lines import AGENTS, At
from agents.models import Agent, Assignment, Personality, Thought
from agents.services.transfer.chunks import chunks
from agents.services.transfer.report import ImportReport
from agents.sql import prune_thoughts
from agents.states import AgentStatus
from agents.transitions import record_imported_agents
from runners.sql_rows import update_together

A = AgentStatus


@dataclass
class Wishes:
    """What the lines of agents say about jobs, which come later: agent's name to ids of jobs."""

    current: dict[str, tuple[At, str]] = field(default_factory=dict)
    completed: dict[str, tuple[At, list[str]]] = field(default_factory=dict)


def take_in_agents(lines: Iterable[tuple[At, AgentLine]], report: ImportReport, *, actor: str) -> Wishes:
    """Write the agents of these lines; return what they say about jobs."""
    wishes = Wishes()
    roles = {role.name: role for role in Personality.objects.all()}
    for chunk in chunks(lines):
        usable = {line.id: (at, line) for at, line in chunk if _is_usable(at, line, roles, report)}
        _write(usable, roles, report, actor)
        for at, line in usable.values():
            if line.current_task:
                wishes.current[line.id] = (at, line.current_task)
            if line.completed_tasks:
                wishes.completed[line.id] = (at, line.completed_tasks)
    return wishes


def _is_usable(at: At, line: AgentLine, roles: dict[str, Personality], report: ImportReport) -> bool:
    reason = "" if line.personality in roles else f"there is no personality {line.personality!r}"
    try:
        validate_slug(line.id)
    except ValidationError:
        reason = f"id holds more than letters, digits, - and _: {line.id!r}"
    if reason:
        report.complaints.add(at.file, at.line, reason)
    return not reason


def _write(
    usable: dict[str, tuple[At, AgentLine]], roles: dict[str, Personality], report: ImportReport, actor: str
) -> None:
    working = Exists(Assignment.objects.filter(agent=OuterRef("pk"), ended_at__isnull=True))
    existing = {
        agent.name: agent
        for agent in Agent.objects.select_for_update(of=("self",)).filter(name__in=usable).annotate(at_work=working)
    }
    now = timezone.now()
    new, changed, arrivals = [], [], []
    for _, line in usable.values():
        agent = existing.get(line.id)
        start = agent.status if agent else ""
        if agent is None:
            agent = Agent(name=line.id)
            new.append(agent)
        else:
            changed.append(agent)
        agent.personality = roles[line.personality]
        agent.created_at = line.created_at or (agent.created_at if agent.pk else now)
        status = start if getattr(agent, "at_work", False) else _status(line)
        if status != start:
            agent.status, agent.status_changed_at, agent.reason = status, now, "imported"
            arrivals.append((agent, start))
    Agent.objects.bulk_create(new)
    update_together(changed, ("personality", "created_at", "status", "status_changed_at", "reason"))
    record_imported_agents(arrivals, actor=actor)
    _write_thoughts([*new, *changed], {line.id: line for _, line in usable.values()})
    report.count(AGENTS, new=len(new), updated=len(changed))


def _status(line: AgentLine) -> AgentStatus:
    """Return the status that an agent has here: it works only once it is given its job."""
    return A.IDLE if line.status in {A.SPAWNING, A.WORKING} else line.status


def _write_thoughts(agents: list[Agent], lines: dict[str, AgentLine]) -> None:
    """Add the thoughts that are not there yet; of each agent the newest are kept."""
    known = set(Thought.objects.filter(agent__in=agents).values_list("agent_id", "at", "text"))
    missing = [
        Thought(agent=agent, at=at, text=text)
        for agent in agents
        for at, text in lines[agent.name].thoughts[-Thought.KEPT :]
        if (agent.pk, at, text) not in known
    ]
    Thought.objects.bulk_create(missing)
    had_some = {agent_id for agent_id, _, _ in known}
    for agent_id in {thought.agent_id for thought in missing} & had_some:
        prune_thoughts(agent_id, kept=Thought.KEPT)
