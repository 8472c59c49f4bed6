"""A role, and what it was at each of its versions."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.states import ApprovalMode


class Personality(models.Model):
    """A role: how an agent works, and with which program by default. Staff may edit it and add their own."""

    name = models.SlugField(max_length=40, unique=True)
    description = models.TextField()
    strengths = models.JSONField(default=list, blank=True)
    specialties = models.JSONField(default=list, blank=True)
    work_style = models.CharField(max_length=200, blank=True)
    communication_style = models.CharField(max_length=200, blank=True)
    role_prompt = models.TextField(
        blank=True,
        help_text="Put before the task when an agent of this role runs. {{ job.title }} and the like are filled in.",
    )
    default_backend = models.CharField(max_length=40, default="claude_code")
    model = models.CharField(max_length=100, blank=True)
    flags = models.JSONField(default=list, blank=True)
    argv = models.JSONField(
        default=list, blank=True, help_text="The command itself, for backend `command`; it reads the task as its input."
    )
    max_minutes = models.PositiveIntegerField(
        null=True, blank=True, help_text="A run that takes longer is ended, and has failed. Empty: no limit."
    )
    limits = models.JSONField(
        default=dict,
        blank=True,
        help_text='What its runs may use at most: {"memory_mb": 2048, "idle_seconds": 600}.',
    )
    max_restarts = models.PositiveSmallIntegerField(
        default=0, help_text="How often a failed run is started again by itself before it counts as failed."
    )
    grace_seconds = models.PositiveIntegerField(default=10, help_text="From SIGINT to SIGKILL when a run is stopped.")
    approvals = models.CharField(
        max_length=4,
        choices=ApprovalMode,
        default=ApprovalMode.DENY,
        help_text="What becomes of what the program may not do by itself. Asked for, rules or people answer.",
    )
    version = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "personalities"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(name="personality_approvals_known", condition=Q(approvals__in=ApprovalMode.values))
        ]

    def __str__(self) -> str:
        return self.name


class PersonalityVersion(models.Model):
    """What a personality was, from one change to the next. A run names the version it used."""

    personality = models.ForeignKey(Personality, on_delete=models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    content = models.JSONField(help_text="The fields of the personality as they were.")
    actor = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-version"]
        constraints = [models.UniqueConstraint(name="personality_version_once", fields=["personality", "version"])]

    def __str__(self) -> str:
        return f"version {self.version}"
