"""The only writer of an approval's state: from waiting to one end, once."""

from typing import Any
from uuid import UUID

from django.db import transaction

from outbox.services import enqueue
from runners.approval_events import approval_moved
from runners.models import Approval, Runner
from runners.sql import database_now
from runners.states import ANSWERED, ApprovalState

ANSWER_TASK = "runners.tasks.answer_approval"
#: The actor of what follows from a runner or its program, not from a person or rule.
PROGRAM = "system:program"


@transaction.atomic
def settle(approval_id: UUID, to: ApprovalState, *, actor: str, **changes: Any) -> Approval | None:
    """Bring a waiting question to its end and return it; None if it does not wait any more.

    State, event and the task that carries the answer to the node commit together or not at all. Compare-and-set: of two
    deciders exactly one matches, and the other one waits for it. No other row is locked.
    """
    now = database_now()
    changes |= {"state": to, "decided_at": now, "decided_by": actor, "sent_at": now if to in ANSWERED else None}
    if not Approval.objects.filter(pk=approval_id, state=ApprovalState.WAITING).update(**changes):
        return None
    approval = Approval.objects.select_related("runner__project", "runner__node").get(pk=approval_id)
    publish_end(approval)
    return approval


def enter(approval: Approval) -> None:
    """Insert a question that was just asked, waiting or answered at once. The runner's row is locked."""
    approval.save(force_insert=True)
    publish_end(approval)


def publish_end(approval: Approval) -> None:
    """Publish where the question stands, and send its answer if it has one."""
    approval_moved(approval)
    if approval.state in ANSWERED:
        send_answer(approval)


def send_answer(approval: Approval) -> None:
    """Send the answer to the node. It may be sent again: the shim gives it to the program once."""
    node = approval.runner.node
    assert node is not None  # noqa: S101 - a CHECK: only a queued runner has none, and it asks nothing
    enqueue(ANSWER_TASK, args=[str(approval.pk)], queue=node.queue, aggregate=approval.runner.aggregate)


def withdraw_of(runner: Runner) -> None:
    """Withdraw what an attempt that has ended still asks. In the transaction of its end, its row locked."""
    waiting = Approval.objects.filter(runner=runner, state=ApprovalState.WAITING).order_by("pk")
    for approval_id in list(waiting.values_list("pk", flat=True)):
        settle(approval_id, ApprovalState.WITHDRAWN, actor=PROGRAM, message="Its runner has ended.")
