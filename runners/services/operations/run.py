"""Do an operation's items, a chunk at a time. Runs in a worker of the control plane.

What is done to items and their results are one transaction, and the results are claimed first: a worker that is killed
leaves an item either done or to do, and two workers at one operation never do one item twice. A verb that knows how is
done to a whole chunk at once; where that fails as a whole, and for other verbs, to one item after another.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from runners import events
from runners.models import Operation, OperationItem
from runners.services.operations.counts import recount
from runners.services.operations.verbs import Verb, verb_named
from runners.sql_rows import update_together
from runners.states import ItemResult, OperationStatus

log = structlog.get_logger(__name__)

#: Done at once. More gain little (0.9 ms an item at 250, 0.8 at 1,000), and others wait longer for the rows.
CHUNK_ITEMS = 250
#: Read at once of a verb that is done item by item: what it says of one before its turn is at most so many items old.
SINGLE_ITEMS = 50
#: Progress is told at most so often: a thousand items would else be a thousand events more.
PROGRESS_SECONDS = 0.5
#: The database is away, or chose this transaction to end a deadlock: no fault of an item.
AWAY = (OperationalError, InterfaceError)

Targets = Mapping[str, Any]


def run_operation(operation_id: UUID) -> None:
    """Do what is still to be done of an operation. May run twice at once, and again after a crash."""
    operation = _begin(operation_id)
    if operation is None:
        return
    verb, told_at = verb_named(operation.verb), time.monotonic()
    size = CHUNK_ITEMS if verb.act_many else SINGLE_ITEMS
    while items := list(operation.items.filter(result=ItemResult.PENDING).order_by("pk")[:size]):
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
    if verb.act_many is not None and _act_on_all(operation, verb, items, targets):
        return
    for item in items:
        target = targets.get(item.target_id)
        reason = _why_skip(operation, verb, target)
        if reason:
            _settle(item, ItemResult.SKIPPED, reason)
        else:
            _act(operation, verb, item, target)


def _why_skip(operation: Operation, verb: Verb, target: Any) -> str:
    return verb.why_not(target, **operation.parameters) if target is not None else "It is gone."


def _act_on_all(operation: Operation, verb: Verb, items: Sequence[OperationItem], targets: Targets) -> bool:
    """Do a chunk in one transaction with its results; return False if it failed as a whole, and then nothing is done.

    The operation's row is held: whoever cancels it, or works at it too, waits for the chunk's end.
    """
    assert verb.act_many is not None  # noqa: S101 - the caller asked
    try:
        with transaction.atomic():
            if not Operation.objects.select_for_update().get(pk=operation.pk).is_open:
                return True
            mine = _claimed(items)
            skipped = {item: _why_skip(operation, verb, targets.get(item.target_id)) for item in mine}
            wanted = {targets[item.target_id].pk: item for item, reason in skipped.items() if not reason}
            came = verb.act_many(list(wanted), actor=operation.actor, **operation.parameters)
            for refusal in came.refused.values():
                if not isinstance(refusal, verb.refusals):
                    raise refusal
            _correct(ItemResult.SKIPPED, {item: reason for item, reason in skipped.items() if reason})
            _correct(ItemResult.FAILED, {wanted[key]: _message(refusal) for key, refusal in came.refused.items()})
    except AWAY:
        raise
    except Exception:
        # One of them has a fault that the others need not suffer for: item by item it is found, and told of that one.
        log.exception("operation_chunk_failed", verb=verb.name, items=len(items))
        return False
    return True


def _claimed(items: Sequence[OperationItem]) -> list[OperationItem]:
    """Write DONE for those of a chunk that are still to be done, and return them: they are this transaction's now."""
    still = OperationItem.objects.select_for_update().filter(
        pk__in=[item.pk for item in items], result=ItemResult.PENDING
    )
    mine = list(still.order_by("pk"))
    OperationItem.objects.filter(pk__in=[item.pk for item in mine]).update(result=ItemResult.DONE, at=timezone.now())
    return mine


def _correct(result: ItemResult, messages: Mapping[OperationItem, str]) -> None:
    """Write another result than DONE for those claimed ones that it is not true of."""
    for item, message in messages.items():
        item.result, item.message = result, message
    update_together(list(messages), ("result", "message"))


def _act(operation: Operation, verb: Verb, item: OperationItem, target: Any) -> None:
    """Do one item, with its result in the same transaction; a refused act leaves nothing behind but its reason."""
    try:
        with transaction.atomic():
            # Claimed first: another worker at this item waits here, and then finds it settled.
            if _settle(item, ItemResult.DONE):
                verb.act(target.pk, actor=operation.actor, **operation.parameters)
    except verb.refusals as refusal:
        _settle(item, ItemResult.FAILED, _message(refusal))
    except AWAY:
        # The operation is sent again, and goes on here.
        raise
    except Exception as error:
        # A fault of ours in one item must not keep the others waiting for ever.
        log.exception("operation_item_failed", verb=verb.name, target_id=str(target.pk))
        _settle(item, ItemResult.FAILED, f"an unexpected fault: {type(error).__name__}")


def _message(refusal: Exception) -> str:
    return str(getattr(refusal, "message", refusal))


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
