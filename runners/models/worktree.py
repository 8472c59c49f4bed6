"""A runner's own git worktree, and what was changed in it."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.node import Node
from runners.models.runner import Runner
from runners.models.session import Session
from runners.states import WorktreeEnd, WorktreeState


class Worktree(models.Model):
    """The worktree and branch of one runner; its attempts share them. Written before the first process starts in it."""

    runner = models.OneToOneField(Runner, on_delete=models.CASCADE, primary_key=True, related_name="worktree")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="+")
    repository = models.CharField(max_length=1024, help_text="The checkout it comes from.")
    path = models.CharField(max_length=1024)
    git_dir = models.CharField(max_length=1024, help_text="Its own part of the repository's .git directory.")
    branch = models.CharField(max_length=200)
    base = models.CharField(max_length=64, help_text="The commit it began at.")
    state = models.CharField(max_length=10, choices=WorktreeState, default=WorktreeState.OPEN)
    wanted = models.CharField(max_length=10, choices=WorktreeEnd, blank=True, help_text="Asked for and not done yet.")
    wanted_by = models.CharField(max_length=100, blank=True)
    note = models.TextField(blank=True, help_text="What became of it, or why it was not merged.")
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(name="worktree_state_known", condition=Q(state__in=WorktreeState.values)),
            models.CheckConstraint(
                name="worktree_wanted_known", condition=Q(wanted="") | Q(wanted__in=WorktreeEnd.values)
            ),
        ]

    def __str__(self) -> str:
        return self.branch

    @property
    def is_there(self) -> bool:
        return self.state in {WorktreeState.OPEN, WorktreeState.KEPT}


class Changes(models.Model):
    """What stood in a worktree when an attempt ended, against the commit it began at; untracked files count."""

    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="changes")
    generation = models.PositiveIntegerField()
    session = models.ForeignKey(Session, on_delete=models.SET_NULL, null=True, related_name="changes")
    branch = models.CharField(max_length=200)
    base = models.CharField(max_length=64)
    head = models.CharField(max_length=64, help_text="The last commit in the worktree; later changes are in the patch.")
    files = models.JSONField(
        default=list, help_text="path, old_path, status (A M D R T), insertions, deletions; null: binary."
    )
    file_count = models.PositiveIntegerField(default=0)
    insertions = models.PositiveIntegerField(default=0)
    deletions = models.PositiveIntegerField(default=0)
    patch = models.TextField(blank=True)
    truncated = models.BooleanField(default=False, help_text="The patch or the list of files is not whole.")
    taken_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "changes"
        ordering = ["-taken_at"]
        constraints = [models.UniqueConstraint(name="changes_once", fields=["runner", "generation"])]

    def __str__(self) -> str:
        return f"{self.file_count} files, +{self.insertions} −{self.deletions}"  # noqa: RUF001 - a minus sign
