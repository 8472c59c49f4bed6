"""Every version of the records that people edit. Triggers write them: also when a change went past the services."""

from typing import Any

import pghistory
from django.db import models

from outbox.transactions import CurrentTransaction
from runners.models.budget import Budget
from runners.models.project import Project, ResourceQuota


def _versions(model: type[models.Model], *fields: str) -> Any:
    """Return the base of a model that keeps `fields` of `model` as they were after each change, or before its end.

    Who made a change is told by the audit log's entry of the same transaction. pghistory's own context is left out: it
    would put a statement before every write of a request.
    """
    return pghistory.create_event_model(
        model,
        pghistory.InsertEvent(),
        pghistory.UpdateEvent(),
        pghistory.DeleteEvent(),
        fields=list(fields),
        context_field=None,  # type: ignore[arg-type]  # as its own documentation has it
        append_only=True,
        obj_field=pghistory.ObjForeignKey(related_name="+"),
        attrs={"transaction_id": models.BigIntegerField(db_default=CurrentTransaction(), editable=False)},
    )


class ProjectVersion(
    _versions(  # type: ignore[misc]
        Project, "name", "path", "description", "tags", "status", "isolation", "worktree_end", "transcript_days"
    )
):
    def __str__(self) -> str:
        return f"{self.name}: {self.pgh_label}"


_LIMITS = [field.name for field in ResourceQuota._meta.fields if not field.primary_key]


class QuotaVersion(_versions(ResourceQuota, *_LIMITS)):  # type: ignore[misc]
    def __str__(self) -> str:
        return f"{self.pgh_obj_id}: {self.pgh_label}"


class BudgetVersion(
    _versions(  # type: ignore[misc]
        Budget, "name", "scope", "scope_key", "period", "time_zone", "unit", "limit", "action", "active"
    )
):
    def __str__(self) -> str:
        return f"{self.name}: {self.pgh_label}"
