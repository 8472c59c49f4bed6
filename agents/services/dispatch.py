"""Give jobs to idle agents by themselves.

Run by a task in the outbox whenever something changes that may let work start (a job is ready, an agent idle, a place
free, a project switched on), and every half minute for what no event tells: working hours that begin, a node that is
back. Each step is one transaction under the project's lock, and looks at the database anew: any number of dispatchers
may run at once, and one that dies leaves nothing half done.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import available_timezones

import structlog
from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from agents import acts, events
from agents.exceptions import AgentError, AgentMoveRefused, InvalidAgent
from agents.locks import lock_dispatch
from agents.models import Agent, Assignment, DispatchSettings, Job
from agents.services.assign import assign_job
from agents.services.check import check
from agents.services.suggest import CANDIDATES, Suggestion, Suits, rank
from agents.services.working_hours import within_hours
from agents.wakes import dispatch_soon
from runners.backends import get_backend
from runners.exceptions import InvalidRequest, LaunchRefused, ProgramNotFound
from runners.models import Project
from runners.states import ProjectStatus

ACTOR = "system:dispatch"
#: Idle agents looked at for one job; of more, those that wait longest.
AGENTS_LOOKED_AT = 200

log = structlog.get_logger(__name__)


@dataclass
class Round:
    """What one call learned, so that it does not try the same in vain twice."""

    #: Projects that can start nothing more now.
    done: set[int] = field(default_factory=set)
    #: Agents whose own program was refused, or that somebody else was faster with.
    agents: set[int] = field(default_factory=set)
    #: Jobs that somebody else was faster with.
    jobs: set[str] = field(default_factory=set)
    #: By project, why an agent could not start.
    reasons: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """A job and the agent that suits it best."""

    suggestion: Suggestion
    agent: Agent


def dispatch_all() -> int:
    """Give out what can be started now, the projects taking turns; return how many jobs were given out."""
    given, this = 0, Round()
    while (project_id := next_project(this.done)) is not None:
        given += _give_one(project_id, this)
    return given


def next_project(without: Iterable[int]) -> int | None:
    """Return whose turn it is: of the projects that are switched on, the one with the fewest agents at work.

    Of two alike, the one that was served longest ago.
    """
    at_work = Count(
        "project__jobs__assignments",
        filter=Q(project__jobs__assignments__ended_at__isnull=True, project__jobs__assignments__agent__isnull=False),
    )
    return (
        DispatchSettings.objects.filter(enabled=True)
        .exclude(project__in=list(without))
        .exclude(project__status=ProjectStatus.ARCHIVED)
        .annotate(at_work=at_work)
        .order_by("at_work", "last_dispatched_at", "pk")
        .values_list("pk", flat=True)
        .first()
    )


def _give_one(project_id: int, this: Round) -> int:
    """Give out the next job of a project; return 1 if one was. What stands in the way is kept for people to see."""
    with transaction.atomic():
        lock_dispatch(project_id)
        dispatch = DispatchSettings.objects.select_related("project").get(pk=project_id)
        obstacle = _obstacle(dispatch)
        match = None if obstacle else best_match(dispatch.project, this)
        if match is None:
            this.done.add(project_id)
            _note(dispatch, obstacle or this.reasons.get(project_id) or _lack(dispatch))
            return 0
        return _start(dispatch, match, this)


def _obstacle(dispatch: DispatchSettings) -> str:
    """Return why nothing is given out now, or nothing."""
    if not dispatch.enabled:
        return ""
    if not within_hours(dispatch, timezone.now()):
        return "its working hours"
    at_work = Assignment.objects.open().filter(agent__isnull=False, job__project=dispatch.project).count()
    if dispatch.max_parallel is not None and at_work >= dispatch.max_parallel:
        return f"one of {dispatch.max_parallel} jobs at work to end"
    return ""


def _lack(dispatch: DispatchSettings) -> str:
    ready = Job.objects.ready().for_agents().filter(project=dispatch.project)
    return "an idle agent" if dispatch.enabled and ready.exists() else ""


def best_match(project: Project, this: Round) -> Match | None:
    """Return the job to start next and the agent for it: the highest priority first, then specialty and age.

    Of agents that suit a job alike, one of the project's own goes before one that works anywhere, then whoever waits
    longest. Nothing is locked yet: assign_job() looks again at both.
    """
    ready = Job.objects.ready().for_agents().filter(project=project).exclude(pk__in=this.jobs)
    jobs = list(ready.select_related("project").by_urgency()[:CANDIDATES])
    if not jobs:
        return None
    agents = list(
        Agent.objects.available()
        .filter(Q(project=project) | Q(project__isnull=True))
        .exclude(pk__in=this.agents)
        .select_related("personality", "project")[:AGENTS_LOOKED_AT]
    )
    return _best_of(jobs, agents)


def _best_of(jobs: list[Job], agents: list[Agent]) -> Match | None:
    suits, by_id = Suits(), {agent.pk: agent for agent in agents}
    # Of agents with the same role, whoever waits longest: it would come before the others whichever job it were.
    first: dict[tuple[int, bool], Agent] = {}
    for agent in agents:
        first.setdefault((agent.personality_id, agent.project_id is not None), agent)
    while jobs:
        urgent = [job for job in jobs if rank(job) == rank(jobs[0])]
        matches = [
            Match(suits(job, agent), agent) for job in urgent for agent in _candidates(job, by_id, first.values())
        ]
        if matches:
            # max() keeps the first of equals: the oldest job, the agent that waits longest.
            return max(matches, key=lambda match: (match.suggestion.score, match.agent.project_id is not None))
        # Those are meant for agents that are busy; what is less urgent need not wait for them.
        jobs = [job for job in jobs if rank(job) < rank(urgent[0])]
    return None


def _candidates(job: Job, agents: Mapping[int, Agent], first: Collection[Agent]) -> Collection[Agent]:
    if job.wanted_agent_id is None:
        return first
    return [agents[job.wanted_agent_id]] if job.wanted_agent_id in agents else []


def _start(dispatch: DispatchSettings, match: Match, this: Round) -> int:
    job, agent = match.suggestion.job, match.agent
    try:
        with transaction.atomic():
            assign_job(job.pk, agent.pk, actor=ACTOR, backend=dispatch.backend)
    except (InvalidRequest, ProgramNotFound) as refusal:
        # It is this agent's program that is refused: another agent may have one that is not.
        this.agents.add(agent.pk)
        this.reasons[dispatch.pk] = f"another agent: {agent.name} cannot start. {refusal.message}"
        return 0
    except LaunchRefused as refusal:
        # No place, no budget: whichever agent it were.
        this.done.add(dispatch.pk)
        _note(dispatch, refusal.message)
        return 0
    except AgentMoveRefused:
        this.agents.add(agent.pk)
        return 0
    except AgentError as refusal:
        log.info("not_dispatched", job=job.pk, agent=agent.name, reason=refusal.message)
        this.jobs.add(job.pk)
        return 0
    dispatch.last_dispatched_at = timezone.now()
    dispatch.save(update_fields=["last_dispatched_at"])
    _note(dispatch, "")
    return 1


def _note(dispatch: DispatchSettings, waits_for: str) -> None:
    if dispatch.waits_for != waits_for[:300]:
        dispatch.waits_for = waits_for[:300]
        dispatch.save(update_fields=["waits_for"])
        events.dispatch_changed(dispatch, actor=ACTOR)


@transaction.atomic
def set_dispatch(project: Project, *, actor: str, **fields: Any) -> DispatchSettings:
    """Set what is given of how a project's jobs are given out, and return it all. Raises InvalidAgent.

    Switched on, work starts at once.
    """
    DispatchSettings.objects.get_or_create(project=project)
    dispatch = DispatchSettings.objects.select_for_update().get(project=project)
    before = {name: getattr(dispatch, name) for name in fields}
    for name, value in fields.items():
        setattr(dispatch, name, value)
    check_dispatch(dispatch)
    dispatch.updated_at = timezone.now()
    if not dispatch.enabled:
        dispatch.waits_for = ""
    dispatch.save()
    acts.on_dispatch(dispatch, actor=actor, before=before, after=fields)
    events.dispatch_changed(dispatch, actor=actor)
    dispatch_soon()
    return dispatch


def check_dispatch(dispatch: DispatchSettings) -> None:
    """Raise InvalidAgent if the settings make no sense."""
    check(dispatch, InvalidAgent)
    if (dispatch.work_from is None) != (dispatch.work_until is None):
        raise InvalidAgent("Working hours have a begin and an end.", field="work_until")
    if dispatch.time_zone not in available_timezones():
        raise InvalidAgent(f"There is no time zone {dispatch.time_zone!r}.", field="time_zone")
    days = dispatch.work_days
    if not isinstance(days, list) or any(type(day) is not int or not 0 <= day <= 6 for day in days):
        raise InvalidAgent("Working days are numbers from 0 (Monday) to 6 (Sunday).", field="work_days")
    dispatch.work_days = sorted(set(days))
    if dispatch.backend:
        try:
            get_backend(dispatch.backend)
        except InvalidRequest as refusal:
            raise InvalidAgent(refusal.message, field="backend") from None
