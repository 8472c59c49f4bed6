"""The audit log: who did what, from where, on what; and the chain that seals it.

Both tables only grow: triggers refuse UPDATE, DELETE and TRUNCATE. Whoever may disable triggers is found out by
the HMACs (services/verify.py).
"""

import json
import uuid
from typing import Any

import pgtrigger
from django.contrib.postgres.indexes import BrinIndex
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils import timezone

from outbox.states import Source
from outbox.transactions import CurrentTransaction

#: RESTRICT's own code: to Django, an IntegrityError.
REFUSE = """
    RAISE EXCEPTION 'The audit log only grows: % of % is refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
"""


def append_only() -> list[pgtrigger.Trigger]:
    """Return triggers that refuse whatever is not an INSERT."""
    before: dict[str, Any] = {"when": pgtrigger.Before, "func": REFUSE}
    return [
        pgtrigger.Trigger(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete, **before),
        pgtrigger.Trigger(name="never_emptied", operation=pgtrigger.Truncate, level=pgtrigger.Statement, **before),
    ]


class AuditEntry(models.Model):
    """One act. Its HMAC is over all columns but `id`, `key_id` and `mac` (authenticity.py)."""

    id = models.BigAutoField(primary_key=True)
    #: Random, and part of what is signed: a copy of a genuine row is no second act.
    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=100, help_text="user:<name>, token:<user>/<token> or system:<part>.")
    source = models.CharField(max_length=8, choices=Source, help_text="By which door it came.")
    ip = models.CharField(max_length=45, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=60, help_text="<noun>.<verb>: runner.stop")
    target_type = models.CharField(max_length=40)
    target_id = models.CharField(max_length=100)
    target_name = models.CharField(max_length=200, blank=True)
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    reason = models.TextField(blank=True)
    key_id = models.CharField(max_length=20)
    mac = models.CharField(max_length=64)
    #: Not signed: it only leads to the versions of records that the same transaction wrote.
    transaction_id = models.BigIntegerField(db_default=CurrentTransaction(), editable=False)

    class Meta:
        verbose_name = "act"
        verbose_name_plural = "audit log"
        constraints = [models.CheckConstraint(name="auditentry_source_known", condition=Q(source__in=Source.values))]
        indexes = [
            models.Index(name="auditentry_target", fields=["target_type", "target_id", "id"]),
            models.Index(name="auditentry_actor", fields=["actor", "id"]),
            models.Index(name="auditentry_transaction", fields=["transaction_id"]),
            # Rows come in the order of time: a few kilobytes serve any range of it.
            BrinIndex(name="auditentry_at", fields=["at"]),
        ]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.target_name or self.target_id}"

    @property
    def changed_names(self) -> list[str]:
        """The names in `before` and `after`, in order."""
        return list({**(self.before or {}), **(self.after or {})})

    @property
    def before_text(self) -> str:
        return json.dumps(self.before, indent=2, ensure_ascii=False)

    @property
    def after_text(self) -> str:
        return json.dumps(self.after, indent=2, ensure_ascii=False)

    @property
    def content(self) -> dict[str, Any]:
        """What is signed."""
        return {name: getattr(self, name) for name in SIGNED}


#: The columns under an entry's HMAC. A column added later must not join them: old rows would no longer verify.
SIGNED = (
    "uid",
    "at",
    "actor",
    "source",
    "ip",
    "request_id",
    "action",
    "target_type",
    "target_id",
    "target_name",
    "before",
    "after",
    "reason",
)


class AuditCheck(models.Model):
    """What one verification of the chain found. A note: a verification of everything trusts none of them."""

    at = models.DateTimeField(default=timezone.now)
    whole = models.BooleanField()
    everything = models.BooleanField(help_text="From the chain's beginning; else from where the last one ended.")
    position = models.BigIntegerField(help_text="Up to here everything is as it was written.")
    mac = models.CharField(max_length=64, blank=True, help_text="Of the seal there.")
    finding = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M}: {'whole' if self.whole else 'broken'} up to {self.position}"


class AuditSeal(models.Model):
    """One link of the chain: the entry at `position`, bound to all before it.

    Given after commit by one sealer at a time (services/seal.py), so that acts themselves wait for no lock.
    """

    position = models.BigIntegerField(primary_key=True)
    # No constraint: it would lock, and so rewrite, each entry; that one is missing is for verify() to find.
    entry = models.OneToOneField(AuditEntry, on_delete=models.DO_NOTHING, related_name="seal", db_constraint=False)
    entry_mac = models.CharField(max_length=64)
    sealed_at = models.DateTimeField(default=timezone.now)
    key_id = models.CharField(max_length=20)
    mac = models.CharField(max_length=64, help_text="Over this row and the mac of the one before.")

    class Meta:
        constraints = [models.CheckConstraint(name="auditseal_position_positive", condition=Q(position__gt=0))]
        triggers = append_only()

    def __str__(self) -> str:
        return f"position {self.position}"
