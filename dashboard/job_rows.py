"""What the board shows of jobs, as plain values."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Case, F, IntegerField, Value, When, Window
from django.db.models.functions import RowNumber
from django.urls import reverse

from agents.figures import JobFigures, figures_of_jobs
from agents.models import Job
from agents.states import JOB_MOVES, PRIORITY_RANK, JobStatus
from dashboard import figures

J = JobStatus
#: Cards of one column on the board; the column alone has pages. Six of them, at 17 elements a card, stay under 2,000.
COLUMN_CARDS = 16
#: Nobody puts a job there by hand: it is assigned, or made to wait.
NOT_BY_HAND = frozenset({J.IN_PROGRESS, J.BLOCKED})


def targets_of(job: Job) -> list[JobStatus]:
    """Return the columns to which a job may be moved by hand, in the order of the board."""
    if job.status == J.BLOCKED:
        return [J.CANCELLED]  # what it waits for would block it again at once
    legal = JOB_MOVES[J(job.status)] - NOT_BY_HAND
    return [status for status in J if status in legal]


def shown_jobs() -> Any:
    """Return jobs with everything a card needs."""
    return Job.objects.select_related("project", "wanted_agent", "wanted_person").with_current()


def job_rows(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """Return the cards of these jobs, in five queries; wants shown_jobs()."""
    found = list(jobs)
    known = figures_of_jobs(found)
    return [job_row(job, known[job.pk]) for job in found]


def job_row(job: Any, known: JobFigures) -> dict[str, Any]:
    current = job.current[0] if job.current else None
    return {
        "id": job.pk,
        "url": reverse("dashboard:job", args=[job.pk]),
        "title": job.title,
        "project": job.project.name if job.project else "",
        "status": job.status,
        "status_label": job.get_status_display(),
        "reason": job.reason,
        "priority": job.priority,
        "priority_label": job.get_priority_display(),
        "labels": job.labels,
        "asks": job.get_decision_display() if job.needs_decision else "",
        "worker": current.worker if current else "",
        "agent": current.agent.name if current and current.agent else "",
        "runner": current.runner if current else None,
        "wanted": str(job.wanted_agent or job.wanted_person or ""),
        "targets": targets_of(job),
        "can_assign": job.status == J.PENDING,
        "hours": figures.UNKNOWN if known.hours is None else f"{known.hours:.1f} h",
        "estimate": f"{job.estimated_hours.normalize():f} h" if job.estimated_hours is not None else figures.NONE,
        "known": known,
    }


def board_columns(jobs: Any) -> list[dict[str, Any]]:
    """Return a column for each status with its first cards, in a fixed number of queries."""
    counts = jobs.counts_by_status()
    rows: dict[str, list[dict[str, Any]]] = {status: [] for status in J.values}
    for row in job_rows(in_column_order(shown_jobs().filter(pk__in=list(_first_of_each(jobs))))):
        rows[row["status"]].append(row)
    return [
        {"status": s.value, "label": s.label, "count": counts[s], "rows": rows[s], "more": counts[s] - len(rows[s])}
        for s in J
    ]


def in_column_order(jobs: Any) -> Any:
    """Order as a column does: what ended last, or what is most urgent, then oldest, first."""
    return jobs.order_by(F("ended_at").desc(nulls_first=True), _rank().desc(), "created_at", "pk")


def _first_of_each(jobs: Any) -> Any:
    order = [F("ended_at").desc(nulls_first=True), _rank().desc(), F("created_at").asc(), F("pk").asc()]
    place = Window(RowNumber(), partition_by=F("status"), order_by=order)
    return jobs.order_by().annotate(place=place).filter(place__lte=COLUMN_CARDS).values_list("pk", flat=True)


def _rank() -> Case:
    whens = [When(priority=priority, then=Value(rank)) for priority, rank in PRIORITY_RANK.items()]
    return Case(*whens, default=Value(0), output_field=IntegerField())
