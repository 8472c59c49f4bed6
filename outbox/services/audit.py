"""Write who did what into the audit log, in the caller's transaction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from outbox import prepared, sql
from outbox.authenticity import sign, signing_key
from outbox.exceptions import OutsideTransaction
from outbox.masking import masked
from outbox.models import AuditEntry
from outbox.models.audit import SIGNED
from outbox.origin import Origin, current_origin
from outbox.services import bunch
from outbox.storable import plain

Facts = Mapping[str, Any]
#: Rows of one INSERT: some megabytes of arrays at most.
CHUNK = 2_000
#: In the order of sql.RECORD_ACT.
_COLUMNS = (*SIGNED, "key_id", "mac")
_JSON = ("before", "after")


@dataclass(frozen=True, slots=True)
class Act:
    """One act, as record_act() takes it."""

    action: str
    actor: str
    target_type: str
    target_id: object
    target_name: str = ""
    before: Facts | None = None
    after: Facts | None = None
    reason: str = ""


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
    act = Act(action, actor, target_type, target_id, target_name, before, after, reason)
    _need_transaction(act)
    entry = _signed(act, origin or current_origin())
    if bunch.keep(_insert, entry):
        return entry
    ((entry.pk,),) = prepared.run(sql.RECORD_ACT, _values(entry))
    entry._state.adding = False
    return entry


def record_acts(acts: Iterable[Act], *, origin: Origin | None = None) -> int:
    """Record all of these, in their order, as record_act() would; return how many. One INSERT for thousands."""
    origin = origin or current_origin()
    acts = list(acts)
    for act in acts[:1]:
        _need_transaction(act)
    entries = [_signed(act, origin) for act in acts]
    _insert([entry for entry in entries if not bunch.keep(_insert, entry)])
    return len(acts)


def _insert(entries: Sequence[AuditEntry]) -> None:
    for start in range(0, len(entries), CHUNK):
        rows = [_values(entry) for entry in entries[start : start + CHUNK]]
        prepared.run(sql.RECORD_ACTS, [list(column) for column in zip(*rows, strict=True)])


def _need_transaction(act: Act) -> None:
    if not transaction.get_connection().in_atomic_block:
        raise OutsideTransaction(
            f"{act.action} of {act.target_type} {act.target_id} was recorded outside a transaction"
        )


def _signed(act: Act, origin: Origin) -> AuditEntry:
    before, after = changed(act.before, act.after)
    entry = AuditEntry(
        actor=_text(act.actor, 100),
        source=origin.source.value,
        ip=origin.ip,
        request_id=_text(origin.request_id, 64),
        action=act.action,
        target_type=act.target_type,
        target_id=_text(act.target_id, 100),
        target_name=_text(act.target_name, 200),
        before=_kept(before, act.action),
        after=_kept(after, act.action),
        reason=_text(act.reason, 2000),
        key_id=signing_key(),
    )
    entry.mac = sign(entry.content, entry.key_id)
    return entry


def _values(entry: AuditEntry) -> list[Any]:
    """Return what is written of an entry, in the order of _COLUMNS."""
    values = {name: getattr(entry, name) for name in _COLUMNS}
    for name in _JSON:
        values[name] = None if values[name] is None else json.dumps(values[name], ensure_ascii=False)
    return list(values.values())


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
