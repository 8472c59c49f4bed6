"""Roles and named workers."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.states import AgentStatus
from runners.models import Project, Runner


class Personality(models.Model):
    """A role: how an agent works, and with which program by default. Staff may edit it and add their own."""

    name = models.SlugField(max_length=40, unique=True)
    description = models.TextField()
    strengths = models.JSONField(default=list, blank=True)
    specialties = models.JSONField(default=list, blank=True)
    work_style = models.CharField(max_length=200, blank=True)
    communication_style = models.CharField(max_length=200, blank=True)
    role_prompt = models.TextField(blank=True, help_text="Put before the task when an agent of this role runs.")
    default_backend = models.CharField(max_length=40, default="claude_code")
    model = models.CharField(max_length=100, blank=True)
    flags = models.JSONField(default=list, blank=True)
    version = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "personalities"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Agent(models.Model):
    """A named worker; it lives on between runs."""

    name = models.SlugField(max_length=60, unique=True)
    personality = models.ForeignKey(Personality, on_delete=models.PROTECT, related_name="agents")
    project = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True, blank=True, related_name="agents")
    runner = models.ForeignKey(
        Runner, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", help_text="What it works with now."
    )
    status = models.CharField(max_length=10, choices=AgentStatus, default=AgentStatus.SPAWNING)
    status_changed_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [models.CheckConstraint(name="agent_status_known", condition=Q(status__in=AgentStatus.values))]

    def __str__(self) -> str:
        return self.name
