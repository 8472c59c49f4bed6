"""What waits for what: edges without cycles, jobs that come free, and decisions asked for."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence

from django.db import transaction
from django.utils import timezone

from agents import acts, events
from agents.exceptions import DependencyCycle, InvalidJob, JobMoveRefused, MissingDependencies
from agents.locks import lock_graph
from agents.models import Dependency, Job
from agents.sql import reachable_edges
from agents.states import JOB_DEAD_ENDS, Decision, JobStatus
from agents.transitions import locked_job, locked_jobs, move_jobs

J = JobStatus
#: A job may still be told to wait: nobody works on it, and it may yet be done.
MAY_WAIT = frozenset({J.PENDING, J.BLOCKED, J.FAILED})


@transaction.atomic
def add_dependencies(job_id: str, needs: Sequence[str], *, actor: str) -> Job:
    """Let a job wait for others, and return it: blocked, unless all of them are completed. Repeats are harmless.

    Raises MissingDependencies, DependencyCycle, JobMoveRefused; then nothing was written.
    """
    lock_graph()
    job = locked_job(job_id)
    if job.status not in MAY_WAIT:
        raise JobMoveRefused(f"{job.pk} is {job.status}: it cannot wait for others any more.", status=job.status)
    write_edges({job_id: needs})
    acts.on_job("wait", job, actor=actor, after={"dependencies": sorted(needs)})
    changed(job, ["dependencies"], actor=actor)
    return reconsider(job, actor=actor)


def write_edges(wanted: dict[str, Sequence[str]]) -> None:
    """Write edges from each job to what it needs. Wants lock_graph().

    Raises MissingDependencies, DependencyCycle; then the caller's transaction is to be rolled back.
    """
    targets = {target for needs in wanted.values() for target in needs}
    missing = sorted(targets - set(Job.objects.filter(pk__in=targets).values_list("pk", flat=True)))
    if missing:
        raise MissingDependencies(
            f"There is no job {', '.join(missing)} to wait for.", field="dependencies", missing=missing
        )
    edges = [(job_id, target) for job_id, needs in wanted.items() for target in needs]
    if cycle := find_cycle([*edges, *reachable_edges(sorted(targets))], starts=wanted):
        raise DependencyCycle(f"These would wait for each other: {' > '.join(cycle)}.", cycle=cycle)
    Dependency.objects.bulk_create(
        [Dependency(job_id=job_id, needs_id=target) for job_id, target in edges], ignore_conflicts=True
    )


def find_cycle(edges: Iterable[tuple[str, str]], *, starts: Iterable[str]) -> list[str] | None:
    """Return a shortest cycle through one of `starts`, its first job again at the end; None if there is none."""
    graph: dict[str, list[str]] = {}
    for job, needs in edges:
        graph.setdefault(job, []).append(needs)
    return next((cycle for start in starts if (cycle := _way_back(graph, start))), None)


def _way_back(graph: dict[str, list[str]], start: str) -> list[str] | None:
    came_from: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        for needs in graph.get(here, ()):
            if needs == start:
                return _path(came_from, start, here)
            if needs not in came_from:
                came_from[needs] = here
                waiting.append(needs)
    return None


def _path(came_from: dict[str, str], start: str, last: str) -> list[str]:
    path = [start]
    while last != start:
        path.append(last)
        last = came_from[last]
    return [start, *reversed(path[1:]), start]


@transaction.atomic
def drop_dependencies(job_id: str, needs: Sequence[str], *, actor: str) -> Job:
    """Let a job no longer wait for these, and return it: it comes free if it waits for nothing else.

    Raises InvalidJob if it does not wait for one of them.
    """
    lock_graph()
    job = locked_job(job_id)
    found = Dependency.objects.filter(job=job, needs__in=needs)
    unknown = sorted(set(needs) - set(found.values_list("needs_id", flat=True)))
    if unknown:
        raise InvalidJob(f"{job_id} does not wait for {', '.join(unknown)}.", field="dependencies", missing=unknown)
    found.delete()
    acts.on_job("drop", job, actor=actor, before={"dependencies": sorted(needs)})
    changed(job, ["dependencies"], actor=actor)
    return reconsider(job, actor=actor)


def in_turns(ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield jobs in their order, in groups of which none waits for another: these may be done at once."""
    neighbours: defaultdict[str, set[str]] = defaultdict(set)
    for job_id, needs_id in Dependency.objects.filter(job__in=ids, needs__in=ids).values_list("job_id", "needs_id"):
        neighbours[job_id].add(needs_id)
        neighbours[needs_id].add(job_id)
    group: dict[str, None] = {}
    for job_id in ids:
        if not neighbours[job_id].isdisjoint(group):
            yield list(group)
            group = {}
        group[job_id] = None
    yield list(group)


def reconsider_dependents(jobs: Iterable[Job], *, actor: str) -> None:
    """Put every job that waits for one of `jobs` where it belongs now. Wants lock_graph()."""
    dependents = set(Dependency.objects.filter(needs__in=list(jobs)).values_list("job_id", flat=True))
    if dependents:
        reconsider_jobs(list(locked_jobs(dependents).values()), actor=actor)


def reconsider(job: Job, *, actor: str) -> Job:
    """Do reconsider_jobs() to one, and return it."""
    reconsider_jobs([job], actor=actor)
    return job


def reconsider_jobs(jobs: Sequence[Job], *, actor: str) -> None:
    """Put waiting jobs where their dependencies say. Wants lock_graph() and the jobs' rows locked.

    Blocked while one is not completed; pending as soon as all are; asking for a decision when one never will be.
    """
    needs: defaultdict[str, dict[str, str]] = defaultdict(dict)
    edges = Dependency.objects.filter(job__in=[job.pk for job in jobs])
    for job_id, needs_id, status in edges.values_list("job_id", "needs_id", "needs__status"):
        needs[job_id][needs_id] = status
    unmet = {job.pk: sorted(pk for pk, status in needs[job.pk].items() if status != J.COMPLETED) for job in jobs}
    for job in jobs:
        if unmet[job.pk] and job.status == J.PENDING:
            move_jobs([job], J.BLOCKED, actor=actor, reason=f"waits for {', '.join(unmet[job.pk])}")
    free = [job for job in jobs if not unmet[job.pk] and job.status == J.BLOCKED]
    move_jobs(free, J.PENDING, actor=actor, reason="waits for nothing any more")
    for job in jobs:
        if job.status == J.BLOCKED and not JOB_DEAD_ENDS.isdisjoint(needs[job.pk].values()):
            decide(job, Decision.DEPENDENCY, actor=actor)
        elif job.decision == Decision.DEPENDENCY:
            decide(job, Decision.NONE, actor=actor)


def decide(job: Job, decision: Decision, *, actor: str) -> Job:
    """Set what a job asks people to decide."""
    if job.decision != decision:
        job.decision = decision
        job.save(update_fields=["decision"])
        changed(job, ["decision"], actor=actor)
    return job


def changed(job: Job, fields: list[str], *, actor: str) -> None:
    """Tell that something of a job changed but its status."""
    job.updated_at = timezone.now()
    job.save(update_fields=["updated_at"])
    events.job_changed(job, fields, actor=actor)
