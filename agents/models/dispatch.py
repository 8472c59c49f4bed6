"""How a project's jobs are given to agents by themselves."""

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models import Project

ALL_DAYS = [0, 1, 2, 3, 4, 5, 6]


def every_day() -> list[int]:
    return list(ALL_DAYS)


class DispatchSettings(models.Model):
    """Whether and how idle agents take the jobs of a project. A project without a row has none taken."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="dispatch", primary_key=True)
    enabled = models.BooleanField(default=False)
    max_parallel = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Jobs at once; empty: as the quota allows."
    )
    work_days = models.JSONField(default=every_day, blank=True, help_text="0 is Monday, 6 is Sunday.")
    work_from = models.TimeField(null=True, blank=True, help_text="Empty: all day. After work_until: over midnight.")
    work_until = models.TimeField(null=True, blank=True)
    time_zone = models.CharField(max_length=60, default="UTC")
    backend = models.CharField(max_length=40, blank=True, help_text="Instead of the one that a personality names.")
    max_failures = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1)], help_text="After so many failed runs a job asks people."
    )
    # Where it stands, for people.
    waits_for = models.CharField(max_length=300, blank=True, help_text="Why nothing is given out now.")
    last_dispatched_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "dispatch"
        verbose_name_plural = "dispatch settings"
        constraints = [
            models.CheckConstraint(
                name="dispatch_hours_both_or_none",
                condition=Q(work_from__isnull=True, work_until__isnull=True)
                | Q(work_from__isnull=False, work_until__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.project}: {'on' if self.enabled else 'off'}"
