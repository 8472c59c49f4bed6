"""Make, change and talk about jobs. See land.py and assign.py for moves, dependencies.py for waiting."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from agents import acts, events
from agents.exceptions import InvalidJob, JobInUse, JobMoveRefused
from agents.locks import lock_graph
from agents.models import Agent, Assignment, Comment, Deliverable, Dependency, Job, TimeEntry
from agents.services.check import check
from agents.services.dependencies import changed, reconsider, write_edges
from agents.services.places import open_project
from agents.sql import take_job_numbers
from agents.states import AgentStatus, JobStatus
from agents.transitions import locked_job, locked_jobs, no_such_job, record_job_arrival
from agents.wakes import dispatch_soon
from outbox.services import bunched
from runners.several import Several

#: Fields that change_job() takes as they are; the others need looking up.
PLAIN = frozenset({"title", "description", "priority", "labels", "estimated_hours", "worktree", "metadata"})
LOOKED_UP = frozenset({"project", "wanted_agent", "wanted_person"})


@transaction.atomic
def create_job(
    *,
    title: str,
    actor: str,
    dependencies: Sequence[str] = (),
    deliverables: Sequence[str] = (),
    **fields: Any,
) -> Job:
    """Create a job and return it: pending, or blocked while it waits for others.

    `fields` are those of change_job(). Raises InvalidJob, MissingDependencies, DependencyCycle, and then nothing was
    written.
    """
    job = Job(title=title, created_by=actor, id=new_ids(1)[0])
    _write(job, fields)
    check(job, InvalidJob)
    if dependencies:
        lock_graph()
    job.save(force_insert=True)
    _write_deliverables(job, deliverables)
    acts.on_job("create", job, actor=actor, after=_facts(job))
    record_job_arrival(job, "", actor=actor)
    if not dependencies:
        return job
    write_edges({job.pk: dependencies})
    return reconsider(job, actor=actor)


def new_ids(count: int, *, at: datetime | None = None) -> list[str]:
    """Return `count` new ids of the day (UTC), such as job-2026-05-04-007; who asks next waits for this commit."""
    day = (at or timezone.now()).astimezone(UTC).date()
    ids: list[str] = []
    while len(ids) < count:
        offered = [f"job-{day}-{number:03}" for number in take_job_numbers(day, count - len(ids))]
        # An import brings ids of its own.
        taken = set(Job.objects.filter(pk__in=offered).values_list("pk", flat=True))
        ids += [each for each in offered if each not in taken]
    return ids


@transaction.atomic
def change_job(job_id: str, *, actor: str, **fields: Any) -> Job:
    """Change what is given of a job's fields, and return it. Raises InvalidJob, JobMoveRefused.

    `project`, `wanted_agent` and `wanted_person` are names, or None. A job's project stays while it is worked on.
    """
    job = locked_job(job_id)
    if "project" in fields and job.status == JobStatus.IN_PROGRESS:
        raise JobMoveRefused(f"{job_id} is being worked on: its project stays.", status=job.status)
    before = _facts(job)
    _write(job, fields)
    check(job, InvalidJob)
    job.save(update_fields=[*fields, "updated_at"])
    if fields:
        acts.on_job("change", job, actor=actor, before=before, after=_facts(job))
        changed(job, sorted(fields), actor=actor)
    if job.status == JobStatus.PENDING and fields.keys() & {"priority", *LOOKED_UP}:
        dispatch_soon()
    return job


def _write(job: Job, fields: dict[str, Any]) -> None:
    unknown = sorted(fields.keys() - PLAIN - LOOKED_UP)
    if unknown:
        raise InvalidJob(f"A job has no {unknown[0]} to set.", field=unknown[0])
    for name in fields.keys() & PLAIN:
        setattr(job, name, fields[name])
    if "project" in fields:
        job.project = open_project(fields["project"], InvalidJob)
    if "wanted_agent" in fields:
        job.wanted_agent = _agent(fields["wanted_agent"])
    if "wanted_person" in fields:
        job.wanted_person = person_named(fields["wanted_person"])
    if job.wanted_agent and job.wanted_person:
        raise InvalidJob("A job is meant for an agent or for a person, not for both.", field="wanted_person")


def _facts(job: Job) -> dict[str, Any]:
    """Return what the audit log tells of a job."""
    facts = {name: getattr(job, name) for name in sorted(PLAIN - {"metadata"})}
    return {**facts, **{name: str(getattr(job, name) or "") for name in sorted(LOOKED_UP)}}


def _agent(name: str | None) -> Agent | None:
    if not name:
        return None
    agent = Agent.objects.filter(name=name).exclude(status=AgentStatus.RETIRED).first()
    if agent is None:
        raise InvalidJob(f"There is no agent {name!r} in service.", field="wanted_agent")
    return agent


def person_named(name: str | None) -> Any:
    """Return the user of that name, or None for no name. Raises InvalidJob."""
    if not name:
        return None
    person = get_user_model().objects.filter(username=name, is_active=True).first()
    if person is None:
        raise InvalidJob(f"There is no person {name!r}.", field="wanted_person")
    return person


@transaction.atomic
def set_deliverables(job_id: str, texts: Sequence[str], *, actor: str) -> Job:
    """Set what a job must bring; marks of texts that stay are kept. Raises InvalidJob."""
    job = locked_job(job_id)
    kept = {each.text: each for each in job.deliverables.all()}
    job.deliverables.all().delete()
    _write_deliverables(job, texts, kept)
    before, after = {"deliverables": list(kept)}, {"deliverables": list(texts)}
    acts.on_job("change", job, actor=actor, before=before, after=after)
    changed(job, ["deliverables"], actor=actor)
    return job


def _write_deliverables(job: Job, texts: Sequence[str], kept: dict[str, Deliverable] | None = None) -> None:
    for position, text in enumerate(texts, start=1):
        old = (kept or {}).get(text)
        new = Deliverable(job=job, position=position, text=text)
        if old:
            new.done_at, new.done_by = old.done_at, old.done_by
        check(new, InvalidJob)
        new.save()


@transaction.atomic
def mark_deliverable(job_id: str, deliverable_id: int, *, done: bool, actor: str) -> Deliverable:
    """Mark a deliverable as there, or not. Raises InvalidJob if the job has none such."""
    job = locked_job(job_id)
    deliverable = job.deliverables.filter(pk=deliverable_id).first()
    if deliverable is None:
        raise InvalidJob(f"{job_id} has no deliverable {deliverable_id}.", field="deliverable")
    if bool(deliverable.done_at) != done:
        deliverable.done_at, deliverable.done_by = (timezone.now(), actor) if done else (None, "")
        deliverable.save(update_fields=["done_at", "done_by"])
        acts.on_job("mark", job, actor=actor, after={"deliverable": deliverable.text, "done": done})
        changed(job, ["deliverables"], actor=actor)
    return deliverable


@transaction.atomic
def comment_on(job_id: str, text: str, *, actor: str) -> Comment:
    """Say something about a job. Raises InvalidJob for an empty text."""
    job = locked_job(job_id)
    if not text.strip():
        raise InvalidJob("A comment needs a text.", field="text")
    comment = Comment.objects.create(job=job, actor=actor, text=text.strip())
    changed(job, ["comments"], actor=actor)
    return comment


def delete_job(job_id: str, *, actor: str) -> None:
    """Delete a job that nobody worked on and nothing waits for. Raises JobInUse: such a job is cancelled instead."""
    delete_jobs([job_id], actor=actor).only()


@transaction.atomic
def delete_jobs(ids: Iterable[str], *, actor: str) -> Several[str, Job]:
    """Do delete_job() to several, in this order: what waits for another goes before it, or the other stays."""
    lock_graph()
    given = list(ids)
    jobs = locked_jobs(given)
    several = _deletable(given, jobs)
    with bunched():
        for job in several.done.values():
            acts.on_job("delete", job, actor=actor, before=_facts(job))
            events.job_deleted(job, actor=actor)
    Dependency.objects.filter(job__in=several.done).delete()
    Job.objects.filter(pk__in=several.done).delete()
    return several


def _deletable(ids: Sequence[str], jobs: Mapping[str, Job]) -> Several[str, Job]:
    worked = {
        *Assignment.objects.filter(job__in=jobs).values_list("job_id", flat=True),
        *TimeEntry.objects.filter(job__in=jobs).values_list("job_id", flat=True),
    }
    waiting: defaultdict[str, set[str]] = defaultdict(set)
    for waits, needed in Dependency.objects.filter(needs__in=jobs).values_list("job_id", "needs_id"):
        waiting[needed].add(waits)
    several = Several[str, Job]()
    for job_id in ids:
        left = sorted(waiting[job_id] - several.done.keys())
        if job_id not in jobs:
            several.refused[job_id] = no_such_job(job_id)
        elif job_id in worked:
            several.refused[job_id] = JobInUse(f"{job_id} has been worked on: cancel it instead.")
        elif left:
            several.refused[job_id] = JobInUse(f"{', '.join(left)} waits for {job_id}.", dependents=left)
        else:
            several.done[job_id] = jobs[job_id]
    return several
