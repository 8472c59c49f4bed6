"""What a runner's processes may use at most: set for a project, lowered for a launch, held by the shim."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from runners.exceptions import InvalidRequest
from runners.models import Project, ResourceQuota, Runner

#: Of a PositiveIntegerField.
LARGEST = 2**31 - 1
#: RLIMIT_CPU holds each process by itself, should the shim be too late: so much later, so that its reason comes first.
CPU_MARGIN_SECONDS = 5


@dataclass(frozen=True)
class Limit:
    """One limit: a column of ResourceQuota, and a key of a runner's limits."""

    name: str
    label: str
    unit: str
    minimum: int
    help_text: str

    def shown(self, value: int) -> str:
        """Return it for people: memory 2,048 MB."""
        return f"{self.label.lower()} {value:,}{' ' * bool(self.unit)}{self.unit}"


LIMITS = (
    Limit("memory_mb", "Memory", "MB", 16, "Of all its processes together; over it they are killed."),
    Limit("cpu_seconds", "CPU time", "s", 1, "Of all its processes together; then it is asked to end."),
    Limit("wall_seconds", "Wall clock", "s", 1, "From its start, pauses included; then it is asked to end."),
    Limit("idle_seconds", "Silence", "s", 1, "Without output or report; then it is stalled, and asked to end."),
    Limit("output_mb", "Output", "MB", 1, "Of its recording on disk; over it the processes are killed."),
    Limit("open_files", "Open files", "", 16, "Of each process: the kernel refuses to open more."),
    Limit("processes", "Processes", "", 1, "At once; over it they are all killed."),
)
BY_NAME: Mapping[str, Limit] = {limit.name: limit for limit in LIMITS}


def limits_of_project(project: Project) -> dict[str, int]:
    """Return the limits that are set for the project."""
    quota = ResourceQuota.objects.filter(project=project).first()
    values = {limit.name: getattr(quota, limit.name) for limit in LIMITS} if quota else {}
    return {name: value for name, value in values.items() if value is not None}


def check_limits(project: Project, asked: Mapping[str, Any]) -> None:
    """Raise InvalidRequest unless each is a limit, and none is looser than the project's."""
    if not asked:
        return
    check_numbers(asked)
    most = limits_of_project(project)
    for name, value in asked.items():
        if value > most.get(name, LARGEST):
            raise InvalidRequest(
                f"{name} may be at most {most[name]} in {project.name}, not {value}.", field="limits", most=most[name]
            )


def check_numbers(limits: Mapping[str, Any]) -> None:
    """Raise InvalidRequest unless each is a limit, and a number that it may be."""
    for name, value in limits.items():
        if name not in BY_NAME:
            raise InvalidRequest(f"There is no limit {name!r}; there are {', '.join(BY_NAME)}.", field="limits")
        least = BY_NAME[name].minimum
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
            raise InvalidRequest(f"{name} must be a whole number from {least} on, not {value!r}.", field="limits")


def limits_in_force(runner: Runner) -> dict[str, int]:
    """Return what holds for an attempt that starts now: what was asked for, or the project's where that is tighter."""
    both = (limits_of_project(runner.project), runner.limits)
    names = {name for limits in both for name in limits}
    return {name: min(limits[name] for limits in both if name in limits) for name in BY_NAME if name in names}


def rlimits(limits: Mapping[str, int]) -> dict[str, int]:
    """Return what the kernel holds for each process. RLIMIT_NPROC is left: it counts by user, not by runner."""
    # A dump of an agent is large, and nobody looks for it.
    kept = {"core": 0}
    if "open_files" in limits:
        kept["nofile"] = limits["open_files"]
    if "cpu_seconds" in limits:
        kept["cpu"] = limits["cpu_seconds"] + CPU_MARGIN_SECONDS
    return kept


def within_project(project: Project, wanted: Mapping[str, int]) -> dict[str, int]:
    """Return limits that are meant for any project, each no looser than this one's."""
    most = limits_of_project(project) if wanted else {}
    return {name: min(value, most.get(name, value)) for name, value in wanted.items()}


@transaction.atomic
def set_limits(project: Project, limits: Mapping[str, int | None]) -> None:
    """Set those that are given, None for no limit. Attempts that run keep what they started with."""
    if not limits:
        return
    check_numbers({name: value for name, value in limits.items() if value is not None or name not in BY_NAME})
    quota, _ = ResourceQuota.objects.select_for_update().get_or_create(project=project)
    for name, value in limits.items():
        setattr(quota, name, value)
    quota.save(update_fields=list(limits))


def shown(limits: Mapping[str, int]) -> str:
    """Return limits as one line for people."""
    return ", ".join(limit.shown(limits[limit.name]) for limit in LIMITS if limit.name in limits)
