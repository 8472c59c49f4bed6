"""Named reads of agents, jobs, assignments and time entries."""

from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Case, Count, Exists, F, IntegerField, OuterRef, Prefetch, Q, Value, When
from django.db.models.functions import Coalesce, Extract, Greatest

from agents.states import AVAILABLE, JOB_ENDED, PRIORITY_RANK, AgentStatus, Decision, JobStatus

if TYPE_CHECKING:
    from agents.models import Agent, Assignment, Job, TimeEntry  # noqa: F401 - named in the brackets below


class AgentQuerySet(models.QuerySet["Agent"]):
    def active(self) -> "AgentQuerySet":
        return self.exclude(status=AgentStatus.RETIRED)

    def available(self) -> "AgentQuerySet":
        """Return agents that may be given a job, the one that waits longest first."""
        at_work = Exists(_open_assignments().filter(agent=OuterRef("pk")))
        return self.filter(~at_work, status__in=AVAILABLE).order_by("status_changed_at", "pk")

    def with_current(self) -> "AgentQuerySet":
        """Fetch each agent's open assignment, with job and runner, as `current` (a list of one or none)."""
        open_ones = _open_assignments().select_related("job", "runner")
        return self.prefetch_related(Prefetch("assignments", queryset=open_ones, to_attr="current"))

    def counts_by_status(self) -> dict[str, int]:
        """Return a count for every status, 0 included."""
        found = dict(self.order_by().values_list("status").annotate(n=Count("pk")))
        return {status: found.get(status, 0) for status in AgentStatus.values}


class JobQuerySet(models.QuerySet["Job"]):
    def open(self) -> "JobQuerySet":
        return self.exclude(status__in=JOB_ENDED)

    def ready(self) -> "JobQuerySet":
        """Return jobs that can start now."""
        return self.filter(status=JobStatus.PENDING, decision=Decision.NONE)

    def for_agents(self) -> "JobQuerySet":
        """Leave out what people want to do themselves."""
        return self.filter(wanted_person__isnull=True)

    def undecided(self) -> "JobQuerySet":
        return self.exclude(decision=Decision.NONE)

    def by_urgency(self) -> "JobQuerySet":
        """Order by priority, then by age."""
        whens = [When(priority=priority, then=Value(rank)) for priority, rank in PRIORITY_RANK.items()]
        rank = Case(*whens, default=Value(0), output_field=IntegerField())
        return self.order_by(rank.desc(), "created_at", "pk")

    def with_open_dependency_count(self) -> "JobQuerySet":
        unmet = ~Q(dependencies__needs__status=JobStatus.COMPLETED)
        return self.annotate(open_dependencies=Count("dependencies", filter=unmet & Q(dependencies__isnull=False)))

    def with_current(self) -> "JobQuerySet":
        """Fetch each job's open assignment, with worker and runner, as `current` (a list of one or none)."""
        open_ones = _open_assignments().select_related("agent", "person", "runner")
        return self.prefetch_related(Prefetch("assignments", queryset=open_ones, to_attr="current"))

    def counts_by_status(self) -> dict[str, int]:
        """Return a count for every status, 0 included."""
        found = dict(self.order_by().values_list("status").annotate(n=Count("pk")))
        return {status: found.get(status, 0) for status in JobStatus.values}


class AssignmentQuerySet(models.QuerySet["Assignment"]):
    def open(self) -> "AssignmentQuerySet":
        return self.filter(ended_at__isnull=True)


class TimeEntryQuerySet(models.QuerySet["TimeEntry"]):
    def open(self) -> "TimeEntryQuerySet":
        return self.filter(ended_at__isnull=True)

    def within(self, start: datetime, end: datetime) -> "TimeEntryQuerySet":
        """Return entries of which some part lies between `start` and `end`."""
        return self.filter(Q(ended_at__isnull=True) | Q(ended_at__gt=start), started_at__lt=end)

    def with_seconds(self, now: datetime) -> "TimeEntryQuerySet":
        """Annotate `seconds`: the time worked until `now`, pauses taken off. TimeEntry.worked_seconds() in SQL."""
        until = Coalesce(F("paused_at"), F("ended_at"), Value(now))
        span = models.ExpressionWrapper(until - F("started_at"), output_field=models.DurationField())
        worked = Extract(span, "epoch", output_field=models.FloatField())
        return self.annotate(seconds=Greatest(worked - F("paused_seconds"), Value(0.0)))


def _open_assignments() -> "AssignmentQuerySet":
    from agents.models import Assignment  # models import this module

    return Assignment.objects.open()
