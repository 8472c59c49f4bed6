"""Every version of the records that people edit, written by triggers: also when the change went past the services."""

from typing import Any

import pghistory
from django.db import models
from django.db.models.expressions import RawSQL

from outbox.models.transaction import TRANSACTION
from runners.models.budget import Budget
from runners.models.project import Project, ResourceQuota

TRACKERS = (pghistory.InsertEvent, pghistory.UpdateEvent, pghistory.DeleteEvent)


def _versions(model: type[models.Model], *fields: str) -> Any:
    """Return the base of a model that keeps `fields` of `model` as they were after each change.

    Who made it is known by the transaction, which the audit log keeps, too. pghistory's own context would put a
    statement before every write of a request.
    """
    return pghistory.create_event_model(
        model,
        *(tracker() for tracker in TRACKERS),
        fields=list(fields),
        context_field=None,
        append_only=True,
        obj_field=pghistory.ObjForeignKey(related_name="versions", related_query_name="+"),
        attrs={"transaction_id": models.BigIntegerField(db_default=RawSQL(TRANSACTION, []), editable=False)},
    )
