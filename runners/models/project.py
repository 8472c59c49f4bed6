"""A workspace, and how much it may use."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q

from runners.querysets import ProjectQuerySet
from runners.states import Isolation, ProjectStatus, WorktreeEnd


class Project(models.Model):
    """A directory, usually a git repository, in which runners work."""

    name = models.SlugField(max_length=63, unique=True, help_text="Short name, used in addresses and routing keys.")
    path = models.CharField(max_length=1024, unique=True, help_text="Absolute directory on the nodes.")
    description = models.TextField(blank=True)
    status = models.CharField(max_length=10, choices=ProjectStatus, default=ProjectStatus.ACTIVE)
    tags = models.JSONField(default=list, blank=True)
    isolation = models.CharField(
        max_length=10, choices=Isolation, default=Isolation.NONE, help_text="Of launches that do not choose."
    )
    worktree_end = models.CharField(
        max_length=10, choices=WorktreeEnd, default=WorktreeEnd.KEEP, help_text="Of launches that do not choose."
    )
    transcript_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Recordings are removed so long after they are complete; empty: they are kept.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_launch_at = models.DateTimeField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(name="project_status_known", condition=Q(status__in=ProjectStatus.values)),
            models.CheckConstraint(name="project_isolation_known", condition=Q(isolation__in=Isolation.values)),
            models.CheckConstraint(name="project_worktree_end_known", condition=Q(worktree_end__in=WorktreeEnd.values)),
            models.CheckConstraint(
                name="project_archived_at_iff_archived",
                condition=Q(status=ProjectStatus.ARCHIVED, archived_at__isnull=False)
                | (~Q(status=ProjectStatus.ARCHIVED) & Q(archived_at__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ResourceQuota(models.Model):
    """How many runners a project may have, and what each of them may use. A project without a row has the defaults.

    The limits of a runner (`services/limits.py` tells them) are empty for none.
    """

    DEFAULT_MAX_CONCURRENT_RUNNERS = 5

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="quota", primary_key=True)
    max_concurrent_runners = models.PositiveIntegerField(
        default=DEFAULT_MAX_CONCURRENT_RUNNERS, validators=[MinValueValidator(0)]
    )
    memory_mb = models.PositiveIntegerField(null=True, blank=True)
    cpu_seconds = models.PositiveIntegerField(null=True, blank=True)
    wall_seconds = models.PositiveIntegerField(null=True, blank=True)
    idle_seconds = models.PositiveIntegerField(null=True, blank=True)
    output_mb = models.PositiveIntegerField(null=True, blank=True)
    open_files = models.PositiveIntegerField(null=True, blank=True)
    processes = models.PositiveIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.project_id}: {self.max_concurrent_runners} runners"
