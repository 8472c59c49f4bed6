"""A piece of work on the board, and what hangs on it."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from agents.models.agent import Agent
from agents.querysets import JobQuerySet
from agents.states import JOB_ENDED, Decision, JobStatus, Priority
from runners.models import Project


class JobDay(models.Model):
    """The last number given to a job on a day; its row lock hands the numbers out one by one."""

    day = models.DateField(primary_key=True)
    last_number = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.day}: {self.last_number}"


class Job(models.Model):
    """A piece of work. Who works on it is told by its open assignment; its hours by its time entries."""

    id = models.CharField(primary_key=True, max_length=40, editable=False, help_text="job-2026-05-04-007")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    project = models.ForeignKey(
        Project,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="jobs",
        help_text="Where it is done; without one it is done in its agent's project.",
    )
    status = models.CharField(max_length=12, choices=JobStatus, default=JobStatus.PENDING)
    status_changed_at = models.DateTimeField(default=timezone.now)
    reason = models.CharField(max_length=200, blank=True, help_text="Why it is where it is.")
    decision = models.CharField(max_length=12, choices=Decision, default=Decision.NONE, blank=True)
    priority = models.CharField(max_length=10, choices=Priority, default=Priority.MEDIUM)
    labels = models.JSONField(default=list, blank=True)
    estimated_hours = models.DecimalField(max_digits=8, decimal_places=2, null=True, blank=True)
    reported_hours = models.DecimalField(
        max_digits=8, decimal_places=2, null=True, blank=True, help_text="Told without time entries, as by an import."
    )
    wanted_agent = models.ForeignKey(
        Agent,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="wanted_jobs",
        help_text="Only it is given the job.",
    )
    wanted_person = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="People's work: no agent is given the job.",
    )
    worktree = models.BooleanField(default=False, help_text="Done in a git worktree of its own.")
    metadata = models.JSONField(default=dict, blank=True)
    created_by = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)
    failures_since = models.DateTimeField(default=timezone.now, help_text="Failures before it no longer count.")

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(name="job_status_known", condition=Q(status__in=JobStatus.values)),
            models.CheckConstraint(name="job_priority_known", condition=Q(priority__in=Priority.values)),
            models.CheckConstraint(name="job_decision_known", condition=Q(decision__in=Decision.values)),
            models.CheckConstraint(
                name="job_ended_at_iff_ended",
                condition=Q(status__in=sorted(JOB_ENDED), ended_at__isnull=False)
                | (~Q(status__in=sorted(JOB_ENDED)) & Q(ended_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="job_wanted_by_one", condition=Q(wanted_agent__isnull=True) | Q(wanted_person__isnull=True)
            ),
        ]
        indexes = [
            models.Index(name="job_by_status", fields=["status", "project"]),
            models.Index(name="job_newest", fields=["-created_at", "-id"]),
            models.Index(name="job_undecided", fields=["decision"], condition=~Q(decision="")),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def aggregate(self) -> str:
        """Its name in the outbox: events of one job keep their order."""
        return f"job:{self.pk}"

    @property
    def needs_decision(self) -> bool:
        return self.decision != Decision.NONE


class JobMove(models.Model):
    """One change of a job's status: its history."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="moves")
    from_status = models.CharField(max_length=12, choices=JobStatus, blank=True)
    to_status = models.CharField(max_length=12, choices=JobStatus)
    actor = models.CharField(max_length=100)
    reason = models.CharField(max_length=200, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.from_status or 'new'} > {self.to_status}"


class Dependency(models.Model):
    """`job` waits until `needs` is completed."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="dependencies")
    needs = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="dependents")

    class Meta:
        verbose_name_plural = "dependencies"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(name="dependency_once", fields=["job", "needs"]),
            models.CheckConstraint(name="dependency_not_on_itself", condition=~Q(job=F("needs"))),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} needs {self.needs_id}"


class Deliverable(models.Model):
    """Something that a job must bring, and whether it is there."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="deliverables")
    position = models.PositiveIntegerField()
    text = models.CharField(max_length=500)
    done_at = models.DateTimeField(null=True, blank=True)
    done_by = models.CharField(max_length=100, blank=True)

    class Meta:
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.text


class Comment(models.Model):
    """Something said about a job, by people or by Stratavore itself (system:...)."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="comments")
    actor = models.CharField(max_length=100)
    text = models.TextField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text[:80]
