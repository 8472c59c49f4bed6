"""Write events and tasks into the outbox, in the caller's transaction."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID
from zlib import crc32

from django.conf import settings
from django.db import transaction

from outbox import prepared, registry, sql, trace
from outbox.exceptions import InvalidEventData, OutsideTransaction
from outbox.models import Entry
from outbox.services import bunch
from outbox.services.wake import wake_after_commit
from outbox.states import Kind
from outbox.storable import as_jsonb

#: Rows of one INSERT: some megabytes of arrays at most.
CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, as publish() takes it."""

    type: str
    aggregate: str
    subject: str
    routing_key: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """A Celery task that must run, as enqueue() takes it."""

    task: str
    args: Sequence[Any]
    queue: str
    aggregate: str


#: In the order of sql.PUBLISH.
Row = tuple[UUID, str, str, str, int, str, str, str, str]


def publish(type: str, *, aggregate: str, subject: str, routing_key: str, data: Mapping[str, Any]) -> Entry:
    """Record that something happened; it is delivered after commit, at least once.

    Within one `aggregate` ("runner:<id>") delivery keeps the order of publishing. `data` must be JSON and hold the
    fields that the type promises. Raises OutsideTransaction, UnknownEventType, InvalidEventData.
    """
    return _write(_event_row(Event(type, aggregate, subject, routing_key, data)), data=dict(data))


def enqueue(task: str, *, args: Sequence[Any], queue: str, aggregate: str) -> Entry:
    """Record that a Celery task must run; it reaches `queue` after commit, at least once.

    `args` are ids, never instances. The task must bear being delivered twice.
    Raises OutsideTransaction, InvalidEventData.
    """
    return _write(_task_row(Task(task, args, queue, aggregate)), data={"args": list(args)})


def publish_many(messages: Iterable[Event | Task]) -> int:
    """Publish and enqueue all of these, in their order, as publish() and enqueue() would; return how many.

    One statement for thousands, so that a verb over many items costs little more than one over one.
    Raises OutsideTransaction, UnknownEventType, InvalidEventData; then none is written.
    """
    rows = [_event_row(message) if isinstance(message, Event) else _task_row(message) for message in messages]
    _insert([row for row in rows if not bunch.keep(_insert, row)])
    return len(rows)


def lane_of(aggregate: str) -> int:
    """Return the lane of an aggregate: the same one in every process and release."""
    return crc32(aggregate.encode()) % settings.OUTBOX_LANES


def _event_row(event: Event) -> Row:
    missing = registry.get(event.type).required - event.data.keys()
    if missing:
        raise InvalidEventData(f"{event.type} for {event.aggregate} lacks {', '.join(sorted(missing))}")
    data = as_jsonb(dict(event.data), what=f"{event.type} for {event.aggregate}")
    return _row(Kind.EVENT, event.type, event.aggregate, event.subject, event.routing_key, data)


def _task_row(task: Task) -> Row:
    data = as_jsonb({"args": list(task.args)}, what=f"{task.task} for {task.aggregate}")
    return _row(Kind.TASK, task.task, task.aggregate, "", task.queue, data)


def _row(kind: Kind, name: str, aggregate: str, subject: str, routing_key: str, data: str) -> Row:
    return (new_id(), kind.value, name, aggregate, lane_of(aggregate), subject, routing_key, data, trace.current())


def _insert(rows: Sequence[Row]) -> None:
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        _need_transaction(chunk[0])
        prepared.run(sql.PUBLISH_MANY, list(map(list, zip(*chunk, strict=True))))
    if rows:
        wake_after_commit()


def _write(row: Row, *, data: dict[str, Any]) -> Entry:
    _need_transaction(row)
    if bunch.keep(_insert, row):
        return _entry(row, data)
    ((entry_id,),) = prepared.run(sql.PUBLISH, row)
    wake_after_commit()
    entry = _entry(row, data)
    entry.id = entry_id
    entry._state.adding, entry._state.db = False, "default"
    # The database's moment: read when somebody asks for it, which nobody does who publishes.
    del entry.__dict__["created_at"]
    return entry


def _entry(row: Row, data: dict[str, Any]) -> Entry:
    event_id, kind, name, aggregate, lane, subject, routing_key, _, traceparent = row
    return Entry(
        event_id=event_id,
        kind=kind,
        type=name,
        aggregate=aggregate,
        lane=lane,
        subject=subject,
        routing_key=routing_key,
        data=data,
        traceparent=traceparent,
    )


def _need_transaction(row: Row) -> None:
    if not transaction.get_connection().in_atomic_block:
        raise OutsideTransaction(f"{row[2]} for {row[3]} was published outside a transaction")


def new_id() -> UUID:
    """Return a UUID of version 7: such ids grow with time, so their index is written at its end and not all over."""
    bits = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return UUID(int=bits & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)
