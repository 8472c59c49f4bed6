"""Who works, or worked, on what."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.models.agent import Agent
from agents.models.job import Job
from agents.models.personality import PersonalityVersion
from agents.querysets import AssignmentQuerySet
from agents.states import Outcome
from runners.models import Runner

OPEN = Q(ended_at__isnull=True)


class Assignment(models.Model):
    """One turn of one worker at one job: an agent with its runner, or a person without."""

    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="assignments")
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, null=True, blank=True, related_name="assignments")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="assignments"
    )
    runner = models.OneToOneField(Runner, on_delete=models.PROTECT, null=True, blank=True, related_name="assignment")
    personality_version = models.ForeignKey(
        PersonalityVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="assignments"
    )
    actor = models.CharField(max_length=100, help_text="Who assigned it.")
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.OPEN, blank=True)
    note = models.CharField(max_length=300, blank=True)

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(name="assignment_one_open_per_job", fields=["job"], condition=OPEN),
            models.UniqueConstraint(name="assignment_one_open_per_agent", fields=["agent"], condition=OPEN),
            models.CheckConstraint(
                name="assignment_agent_or_person",
                condition=Q(agent__isnull=False, person__isnull=True) | Q(agent__isnull=True, person__isnull=False),
            ),
            models.CheckConstraint(
                name="assignment_runner_is_an_agents", condition=Q(runner__isnull=True) | Q(agent__isnull=False)
            ),
            models.CheckConstraint(
                name="assignment_outcome_iff_ended",
                condition=(Q(outcome=Outcome.OPEN) & OPEN)
                | (Q(outcome__in=[o for o in Outcome.values if o]) & Q(ended_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(name="assignment_of_job", fields=["job", "-started_at"]),
            models.Index(name="assignment_of_agent", fields=["agent", "-started_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} by {self.worker}"

    @property
    def worker(self) -> str:
        """The name of whoever works: an agent's, or a person's."""
        return self.agent.name if self.agent else self.person.get_username() if self.person else ""
