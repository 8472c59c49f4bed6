"""Do an operation's items, one after another. Runs in a worker of the control plane.

An item's act and its result are one transaction, and the result is claimed first: a worker that is killed leaves an
item either done or to do, and two workers at one operation never do one item twice.
"""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction
from django.utils import timezone

from runners import events
from runners.models import Operation, OperationItem
from runners.services.operations.counts import recount
from runners.services.operations.verbs import Verb, verb_named
from runners.states import ItemResult, OperationStatus

log = structlog.get_logger(__name__)

#: Read at once. What the verb says of an item before its turn is at most so many items old.
CHUNK_ITEMS = 50
#: Progress is told at most so often: a thousand items would else be a thousand events more.
PROGRESS_SECONDS = 0.5


def run_operation(operation_id: UUID) -> None:
    """Do what is still to be done of an operation. May run twice at once, and again after a crash."""
    operation = _begin(operation_id)
    if operation is None:
        return
    verb, told_at = verb_named(operation.verb), time.monotonic()
    while items := list(operation.items.filter(result=ItemResult.PENDING).order_by("pk")[:CHUNK_ITEMS]):
        _do(operation, verb, items)
        if time.monotonic() - told_at >= PROGRESS_SECONDS:
            _tell_progress(operation)
            told_at = time.monotonic()
    _end(operation)


@transaction.atomic
def _begin(operation_id: UUID) -> Operation | None:
    """Return the operation if there may be something to do, `running` from now on."""
    operation = Operation.objects.select_for_update().filter(pk=operation_id).first()
    if operation is None or not operation.is_open:
        return None
    if operation.status == OperationStatus.PENDING:
        operation.status, operation.started_at = OperationStatus.RUNNING, timezone.now()
        operation.save(update_fields=["status", "started_at"])
        events.operation_moved("operation.started", operation)
    return operation


def _do(operation: Operation, verb: Verb, items: Sequence[OperationItem]) -> None:
    targets = {str(row.pk): row for row in verb.matching({"ids": [item.target_id for item in items]})}
    for item in items:
        target = targets.get(item.target_id)
        reason = verb.why_not(target) if target is not None else "It is gone."
        if reason:
            _settle(item, ItemResult.SKIPPED, reason)
        else:
            _act(operation, verb, item, target)


def _act(operation: Operation, verb: Verb, item: OperationItem, target: Any) -> None:
    """Do one item, with its result in the same transaction; a refused act leaves nothing behind but its reason."""
    try:
        with transaction.atomic():
            # Claimed first: another worker at this item waits here, and then finds it settled.
            if _settle(item, ItemResult.DONE):
                verb.act(target.pk, actor=operation.actor, **operation.parameters)
    except verb.refusals as refusal:
        _settle(item, ItemResult.FAILED, str(getattr(refusal, "message", refusal)))
    except DatabaseError:
        # Away, or a deadlock: no fault of this item. The operation is sent again, and goes on here.
        raise
    except Exception as error:
        # A fault of ours in one item must not keep the others waiting for ever.
        log.exception("operation_item_failed", verb=verb.name, target_id=str(target.pk))
        _settle(item, ItemResult.FAILED, f"an unexpected fault: {type(error).__name__}")


def _settle(item: OperationItem, result: ItemResult, message: str = "") -> bool:
    """Write the result of an item that is still to be done; return whether it was."""
    still = OperationItem.objects.filter(pk=item.pk, result=ItemResult.PENDING)
    return bool(still.update(result=result, message=message, at=timezone.now()))


@transaction.atomic
def _tell_progress(operation: Operation) -> None:
    operation = Operation.objects.select_for_update().get(pk=operation.pk)
    recount(operation)
    if operation.is_open:
        events.operation_moved("operation.progress", operation)


@transaction.atomic
def _end(operation: Operation) -> None:
    """Count, and end the operation if all is done. What another worker has in hand is not: that one ends it."""
    operation = Operation.objects.select_for_update().get(pk=operation.pk)
    left = recount(operation)
    if left or operation.status != OperationStatus.RUNNING:
        return
    operation.status, operation.ended_at = OperationStatus.DONE, timezone.now()
    operation.save(update_fields=["status", "ended_at"])
    events.operation_moved("operation.finished", operation)
