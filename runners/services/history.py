"""What became of a record over time, and who did it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from outbox.models import AuditEntry
from runners.models import Project, ProjectVersion, QuotaVersion

#: More nobody reads at once; the admin goes further back.
NEWEST = 200
#: Numbers of transactions begin anew where a dump was restored: so far apart, two of one number are not the same.
APART = timedelta(hours=1)


@dataclass(frozen=True)
class Version:
    """A record after a change, or before it was deleted. Without an `act` the change went past the services."""

    at: datetime
    record: str
    change: str
    values: dict[str, Any]
    act: AuditEntry | None


def history_of(project: Project) -> list[Version]:
    """Return the versions of a project and of its quota, newest first."""
    rows = [
        *ProjectVersion.objects.filter(pgh_obj_id=project.pk).order_by("-pgh_id")[:NEWEST],
        *QuotaVersion.objects.filter(pgh_obj_id=project.pk).order_by("-pgh_id")[:NEWEST],
    ]
    acts = acts_of(rows)
    versions = [
        Version(
            at=row.pgh_created_at,
            record="quota" if isinstance(row, QuotaVersion) else "project",
            change=row.pgh_label,
            values=values_of(row),
            act=acts.get(row.transaction_id),
        )
        for row in rows
    ]
    return sorted(versions, key=lambda version: version.at, reverse=True)[:NEWEST]


def values_of(version: Any) -> dict[str, Any]:
    """Return the fields that a version keeps of its record."""
    return {
        field.name: getattr(version, field.attname)
        for field in version._meta.fields
        if not field.name.startswith("pgh_") and field.name != "transaction_id"
    }


def acts_of(versions: Iterable[Any]) -> dict[int, AuditEntry]:
    """Return the first act of each transaction that wrote one of the versions."""
    written = {version.transaction_id: version.pgh_created_at for version in versions}
    acts: dict[int, AuditEntry] = {}
    for act in AuditEntry.objects.filter(transaction_id__in=written).order_by("-pk"):
        if abs(act.at - written[act.transaction_id]) < APART:
            acts[act.transaction_id] = act
    return acts
