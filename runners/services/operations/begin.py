"""Look at what an operation would do, begin it, cancel it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from outbox.services import enqueue, record_act
from runners import events
from runners.exceptions import InvalidRequest, OperationRefused
from runners.models import Operation, OperationItem
from runners.services.operations.counts import recount
from runners.services.operations.verbs import Filter, Parameters, Verb, verb_named
from runners.states import ItemResult, OperationStatus
from runners.transitions import CONTROL_QUEUE

RUN_TASK = "runners.tasks.run_operation"
#: More exceptions than this nobody reads; their number is told.
EXCEPTIONS_TOLD = 100
#: Rows in one INSERT.
BATCH_ROWS = 1_000
MAX_ITEMS = 100_000


@dataclass(frozen=True)
class Exempt:
    """An item that the verb would refuse now, and why."""

    id: str
    name: str
    reason: str


@dataclass(frozen=True)
class Preview:
    """What an operation would do if it began now."""

    verb: Verb
    count: int
    exception_count: int
    exceptions: Sequence[Exempt]

    @property
    def would_do(self) -> int:
        return self.count - self.exception_count


def preview(name: str, wanted: Filter, parameters: Parameters | None = None) -> Preview:
    """Return how many items match, and which of them would be refused. Changes nothing. Raises InvalidRequest."""
    verb = verb_named(name)
    given = verb.read_parameters(parameters or {})
    told: list[Exempt] = []
    count = refused = 0
    for item in verb.matching(wanted).iterator(chunk_size=BATCH_ROWS):
        count += 1
        reason = verb.why_not(item, **given)
        if reason:
            refused += 1
            if len(told) < EXCEPTIONS_TOLD:
                told.append(Exempt(str(item.pk), str(item), reason))
    return Preview(verb, count, refused, told)


@transaction.atomic
def begin_operation(
    name: str, wanted: Filter, parameters: Parameters | None = None, *, actor: str, at_most: int | None = None
) -> Operation:
    """Begin an operation over everything that matches now, and return it `pending`.

    `at_most` is the number that the caller was shown: if more match by now, nothing begins.
    Raises InvalidRequest, OperationRefused.
    """
    verb = verb_named(name)
    given = verb.read_parameters(parameters or {})
    chosen = list(verb.matching(wanted)[: MAX_ITEMS + 1])
    _refuse_size(verb, len(chosen), at_most)
    operation = Operation.objects.create(
        verb=name, filter=dict(wanted), parameters=given, actor=actor, total=len(chosen)
    )
    OperationItem.objects.bulk_create(
        (OperationItem(operation=operation, target_id=str(item.pk), name=str(item)[:200]) for item in chosen),
        batch_size=BATCH_ROWS,
    )
    _record(operation, "operation.begin", actor)
    send_run(operation)
    return operation


def _refuse_size(verb: Verb, count: int, at_most: int | None) -> None:
    if not count:
        raise OperationRefused(f"No {verb.items} match: there is nothing to do.")
    if count > MAX_ITEMS:
        raise InvalidRequest(f"More than {MAX_ITEMS} {verb.items} match: narrow the filter.", field="filter")
    if at_most is not None and count > at_most:
        raise OperationRefused(f"{count} {verb.items} match by now, not {at_most}: look again.", count=count)


def send_run(operation: Operation) -> None:
    """Send the task that does it. It may be sent again: no item is done twice."""
    enqueue(RUN_TASK, args=[str(operation.pk)], queue=CONTROL_QUEUE, aggregate=operation.aggregate)


@transaction.atomic
def cancel_operation(operation_id: UUID, *, actor: str) -> Operation:
    """Leave undone what is not done yet, and return the operation.

    Idempotent; raises OperationRefused when all is done.
    """
    operation = Operation.objects.select_for_update().filter(pk=operation_id).first()
    if operation is None:
        raise OperationRefused("There is no such operation.")
    if operation.status == OperationStatus.CANCELLED:
        return operation
    if not operation.is_open:
        raise OperationRefused("It is done: there is nothing left to cancel.", status=operation.status)
    operation.items.filter(result=ItemResult.PENDING).update(result=ItemResult.CANCELLED)
    operation.status, operation.cancelled_by, operation.ended_at = OperationStatus.CANCELLED, actor, timezone.now()
    operation.save(update_fields=["status", "cancelled_by", "ended_at"])
    recount(operation)
    _record(operation, "operation.cancel", actor)
    events.operation_moved("operation.finished", operation)
    return operation


def _record(operation: Operation, action: str, actor: str) -> None:
    facts: dict[str, Any] = {
        "verb": operation.verb,
        "filter": operation.filter,
        "parameters": operation.parameters,
        "total": operation.total,
    }
    record_act(
        action, actor=actor, target_type="operation", target_id=operation.pk, target_name=str(operation), after=facts
    )
