"""Hours of work."""

from datetime import datetime

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.utils import timezone

from agents.models.agent import Agent
from agents.models.job import Job
from agents.querysets import TimeEntryQuerySet
from agents.states import TimeStatus


class Span(Func):
    """The time from start to end as a range; without an end it has none."""

    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


SPAN = Span(F("started_at"), F("ended_at"))


class TimeEntry(models.Model):
    """Work of one agent or person from start to end, with its pauses; open until it is stopped.

    A worker's entries never overlap, pauses included: the database sees to that, so there is one open entry at most.
    """

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, null=True, blank=True, related_name="time_entries")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="time_entries"
    )
    job = models.ForeignKey(Job, on_delete=models.PROTECT, null=True, blank=True, related_name="time_entries")
    description = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=10, choices=TimeStatus, default=TimeStatus.ACTIVE)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True, help_text="When the present pause began.")
    paused_seconds = models.FloatField(default=0, help_text="All pauses that are over.")
    pauses = models.JSONField(default=list, blank=True, help_text="Each pause that is over: [start, end].")
    notes = models.TextField(blank=True)
    external_id = models.CharField(max_length=120, blank=True, help_text="Its id in the files it was imported from.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = TimeEntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "time entries"
        ordering = ["-started_at", "-id"]
        constraints = [
            models.CheckConstraint(name="time_status_known", condition=Q(status__in=TimeStatus.values)),
            models.CheckConstraint(
                name="time_of_agent_or_person",
                condition=Q(agent__isnull=False, person__isnull=True) | Q(agent__isnull=True, person__isnull=False),
            ),
            models.CheckConstraint(
                name="time_ended_iff_completed",
                condition=Q(status=TimeStatus.COMPLETED, ended_at__isnull=False)
                | (~Q(status=TimeStatus.COMPLETED) & Q(ended_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="time_paused_at_iff_paused",
                condition=Q(status=TimeStatus.PAUSED, paused_at__isnull=False)
                | (~Q(status=TimeStatus.PAUSED) & Q(paused_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="time_ends_after_its_start", condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at"))
            ),
            models.CheckConstraint(name="time_pauses_not_negative", condition=Q(paused_seconds__gte=0)),
            models.UniqueConstraint(name="time_external_id_once", fields=["external_id"], condition=~Q(external_id="")),
            ExclusionConstraint(
                name="time_of_agent_no_overlap",
                expressions=[(F("agent"), RangeOperators.EQUAL), (SPAN, RangeOperators.OVERLAPS)],
                condition=Q(agent__isnull=False),
            ),
            ExclusionConstraint(
                name="time_of_person_no_overlap",
                expressions=[(F("person"), RangeOperators.EQUAL), (SPAN, RangeOperators.OVERLAPS)],
                condition=Q(person__isnull=False),
            ),
        ]
        indexes = [
            models.Index(name="time_of_job", fields=["job"]),
            models.Index(name="time_newest", fields=["-started_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.worker}: {self.description or self.job_id or 'work'}"

    @property
    def worker(self) -> str:
        """The name of whoever worked: an agent's, or a person's."""
        return self.agent.name if self.agent else self.person.get_username() if self.person else ""

    def worked_seconds(self, now: datetime | None = None) -> float:
        """Return the time worked so far, pauses taken off."""
        until = self.paused_at or self.ended_at or now or timezone.now()
        return max((until - self.started_at).total_seconds() - self.paused_seconds, 0.0)

    def all_pauses(self, now: datetime) -> list[tuple[datetime, datetime]]:
        """Return every pause, the present one up to `now`."""
        over = [(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in self.pauses]
        return [*over, (self.paused_at, max(now, self.paused_at))] if self.paused_at else over
