"""What the clock does: deny what nobody answered, and send answers again that did not arrive."""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F

from runners.approval_transitions import send_answer, settle
from runners.models import Approval, ApprovalTerms
from runners.services.findings import note
from runners.sql import database_now
from runners.states import ANSWERED, LIVE, ApprovalState, NodeStatus

ACTOR = "system:clock"
#: Giving an answer takes well under a second; a task can be lost with a killed worker on a Redis-protocol broker.
PATIENCE = timedelta(seconds=15)


def expire_approvals() -> int:
    """Deny what waited too long; return how many. May run anywhere, twice at once."""
    due = Approval.objects.filter(state=ApprovalState.WAITING, expires_at__lte=database_now())
    return sum(_expire(*each) for each in list(due.order_by("expires_at").values_list("pk", "runner__project_id")))


def _expire(approval_id: UUID, project_id: int) -> int:
    terms = ApprovalTerms.objects.filter(project=project_id).first()
    message = (terms.message if terms else "") or "Nobody answered in time, so it is denied. Do without it if you can."
    return int(settle(approval_id, ApprovalState.EXPIRED, actor=ACTOR, message=message) is not None)


@transaction.atomic
def send_again() -> int:
    """Send answers that a live attempt waits for and did not get; return how many."""
    late = Approval.objects.filter(
        state__in=ANSWERED,
        delivered_at__isnull=True,
        sent_at__lt=database_now() - PATIENCE,
        runner__status__in=LIVE,
        runner__generation=F("generation"),
        runner__node__status=NodeStatus.ONLINE,
    )
    waiting = list(late.select_for_update(of=("self",), skip_locked=True).select_related("runner__node"))
    # The clock starts anew, so that the next round leaves them.
    Approval.objects.filter(pk__in=[approval.pk for approval in waiting]).update(sent_at=database_now())
    for approval in waiting:
        send_answer(approval)
        found = f"an answer of {approval.decided_at:%H:%M:%S} was not given to its program"
        note("undelivered_answers", runner=approval.runner, found=found, done=f"sent to {approval.runner.node} again")
    return len(waiting)
