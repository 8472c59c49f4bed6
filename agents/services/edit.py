"""Edit a job as a whole: its fields, deliverables and dependencies at once, against what the editor saw."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from agents.exceptions import StaleEdit
from agents.locks import lock_graph
from agents.models import Job
from agents.services.dependencies import add_dependencies, drop_dependencies
from agents.services.jobs import LOOKED_UP, PLAIN, change_job, set_deliverables
from agents.transitions import locked_job

FIELDS = (PLAIN - {"metadata"}) | LOOKED_UP


def contents_of(job: Job) -> dict[str, Any]:
    """Return what of a job can be edited, as plain values; a field that is not set is None."""
    estimate = job.estimated_hours
    return {
        "title": job.title,
        "description": job.description,
        "priority": job.priority,
        "labels": list(job.labels),
        "estimated_hours": None if estimate is None else f"{estimate.normalize():f}",
        "worktree": job.worktree,
        "project": job.project.name if job.project else None,
        "wanted_agent": job.wanted_agent.name if job.wanted_agent else None,
        "wanted_person": job.wanted_person.get_username() if job.wanted_person else None,
        "deliverables": [each.text for each in job.deliverables.all()],
        "dependencies": sorted(job.dependencies.values_list("needs_id", flat=True)),
    }


@transaction.atomic
def edit_job(job_id: str, wanted: Mapping[str, Any], *, seen: Mapping[str, Any], actor: str) -> Job:
    """Bring a job to `wanted` where that differs from what was `seen`, all or nothing, and return it.

    Both are contents_of() a job, or a part. What others changed meanwhile stays, unless the same was to be changed:
    raises StaleEdit then. Else raises what change_job(), set_deliverables(), add_ and drop_dependencies() raise.
    """
    lock_graph()
    job = locked_job(job_id)
    now = contents_of(job)
    changes = {name: value for name, value in wanted.items() if value != seen.get(name, now[name])}
    stale = {name: now[name] for name in changes if now[name] not in (seen.get(name, now[name]), changes[name])}
    if stale:
        raise StaleEdit(
            f"Somebody changed {' and '.join(name.replace('_', ' ') for name in sorted(stale))} meanwhile.",
            field=min(stale),
            now=stale,
        )
    changes = {name: value for name, value in changes.items() if value != now[name]}
    fields = {name: value for name, value in changes.items() if name in FIELDS}
    if fields:
        job = change_job(job_id, actor=actor, **fields)
    if "deliverables" in changes:
        job = set_deliverables(job_id, changes["deliverables"], actor=actor)
    if "dependencies" in changes:
        job = _set_dependencies(job, set(now["dependencies"]), set(changes["dependencies"]), actor=actor)
    return job


def _set_dependencies(job: Job, now: set[str], wanted: set[str], *, actor: str) -> Job:
    if more := sorted(wanted - now):
        job = add_dependencies(job.pk, more, actor=actor)
    if less := sorted(now - wanted):
        job = drop_dependencies(job.pk, less, actor=actor)
    return job
