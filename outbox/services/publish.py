"""Write events and tasks into the outbox, in the caller's transaction."""

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import structlog
from django.conf import settings
from django.db import transaction

from outbox import registry
from outbox.exceptions import InvalidEventData, OutsideTransaction
from outbox.models import Entry
from outbox.services.wake import wake_after_commit
from outbox.states import Kind
from outbox.storable import storable


def publish(
    type: str,
    *,
    aggregate: str,
    subject: str,
    routing_key: str,
    data: Mapping[str, Any],
) -> Entry:
    """Record that something happened; it is delivered after commit, at least once.

    Within one `aggregate` ("runner:<id>") delivery keeps the order of publishing. `data` must be JSON and hold the
    fields that the type promises. Raises OutsideTransaction, UnknownEventType, InvalidEventData.
    """
    missing = registry.get(type).required - data.keys()
    if missing:
        raise InvalidEventData(f"{type} for {aggregate} lacks {', '.join(sorted(missing))}")
    return _write(Kind.EVENT, type, aggregate=aggregate, subject=subject, routing_key=routing_key, data=dict(data))


def enqueue(task: str, *, args: Sequence[Any], queue: str, aggregate: str) -> Entry:
    """Record that a Celery task must run; it reaches `queue` after commit, at least once.

    `args` are ids, never instances. The task must bear being delivered twice.
    Raises OutsideTransaction, InvalidEventData.
    """
    return _write(Kind.TASK, task, aggregate=aggregate, subject="", routing_key=queue, data={"args": list(args)})


def lane_of(aggregate: str) -> int:
    """Return the lane of an aggregate: the same one in every process and release."""
    return crc32(aggregate.encode()) % settings.OUTBOX_LANES


def _write(kind: Kind, name: str, *, aggregate: str, subject: str, routing_key: str, data: dict[str, Any]) -> Entry:
    if not transaction.get_connection().in_atomic_block:
        raise OutsideTransaction(f"{name} for {aggregate} was published outside a transaction")
    entry = Entry.objects.create(
        kind=kind,
        type=name,
        aggregate=aggregate,
        lane=lane_of(aggregate),
        subject=subject,
        routing_key=routing_key,
        data=storable(data, what=f"{name} for {aggregate}"),
        traceparent=structlog.contextvars.get_contextvars().get("traceparent", ""),
    )
    wake_after_commit()
    return entry
