"""A named worker, its history and its thoughts."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.models.personality import Personality
from agents.querysets import AgentQuerySet
from agents.states import AgentStatus
from runners.models import Project


class Agent(models.Model):
    """A named worker; it lives on between runs. What it did and cost is told by its assignments and time entries."""

    name = models.SlugField(max_length=60, unique=True)
    personality = models.ForeignKey(Personality, on_delete=models.PROTECT, related_name="agents")
    project = models.ForeignKey(
        Project,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="agents",
        help_text="Where it works; empty: wherever there is work.",
    )
    status = models.CharField(max_length=10, choices=AgentStatus, default=AgentStatus.SPAWNING)
    status_changed_at = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=200, blank=True, help_text="Why it is where it is.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = AgentQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [models.CheckConstraint(name="agent_status_known", condition=Q(status__in=AgentStatus.values))]
        indexes = [models.Index(name="agent_by_status", fields=["status", "status_changed_at"])]

    def __str__(self) -> str:
        return self.name

    @property
    def aggregate(self) -> str:
        """Its name in the outbox: events of one agent keep their order."""
        return f"agent:{self.pk}"


class AgentMove(models.Model):
    """One change of an agent's status: its history."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="moves")
    from_status = models.CharField(max_length=10, choices=AgentStatus, blank=True)
    to_status = models.CharField(max_length=10, choices=AgentStatus)
    actor = models.CharField(max_length=100)
    reason = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.from_status or 'new'} > {self.to_status}"


class Thought(models.Model):
    """Something an agent said about its work. The newest KEPT of each agent are kept."""

    KEPT = 50

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="thoughts")
    text = models.TextField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(name="thought_newest", fields=["agent", "-at", "-id"])]

    def __str__(self) -> str:
        return self.text[:80]
