"""Write who did what into the audit log, in the caller's transaction."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from outbox.authenticity import sign, signing_key
from outbox.exceptions import OutsideTransaction
from outbox.masking import masked
from outbox.models import AuditEntry
from outbox.origin import Origin, current_origin
from outbox.storable import plain

Facts = Mapping[str, Any]


def record_act(
    action: str,
    *,
    actor: str,
    target_type: str,
    target_id: object,
    target_name: str = "",
    before: Facts | None = None,
    after: Facts | None = None,
    reason: str = "",
    origin: Origin | None = None,
) -> AuditEntry:
    """Record one act; it is in the log if and only if the caller's transaction commits. One INSERT.

    `action` is <noun>.<verb>. Of `before` and `after` only what differs is kept, and nothing that is named as a secret.
    Raises OutsideTransaction, InvalidEventData.
    """
    if not transaction.get_connection().in_atomic_block:
        raise OutsideTransaction(f"{action} of {target_type} {target_id} was recorded outside a transaction")
    origin = origin or current_origin()
    before, after = changed(before, after)
    entry = AuditEntry(
        actor=_text(actor, 100),
        source=origin.source,
        ip=origin.ip,
        request_id=_text(origin.request_id, 64),
        action=action,
        target_type=target_type,
        target_id=_text(target_id, 100),
        target_name=_text(target_name, 200),
        before=_kept(before, action),
        after=_kept(after, action),
        reason=_text(reason, 2000),
        key_id=signing_key(),
    )
    entry.mac = sign(entry.content, entry.key_id)
    entry.save(force_insert=True)
    return entry


def changed(before: Facts | None, after: Facts | None) -> tuple[Facts | None, Facts | None]:
    """Return both sides without what is the same on both; where one side is None, the other as it is."""
    if before is None or after is None:
        return before, after
    missing = object()
    names = [name for name in {**before, **after} if before.get(name, missing) != after.get(name, missing)]
    return {name: before[name] for name in names if name in before}, {
        name: after[name] for name in names if name in after
    }


def _kept(facts: Facts | None, action: str) -> Any:
    return None if facts is None else masked(plain(dict(facts), what=action))


def _text(value: object, length: int) -> str:
    return str(value).replace("\x00", "\ufffd")[:length]
