"""Give an answer to the program that asked. Runs in the node's worker."""

from uuid import UUID

import structlog

from runners.backends import get_backend
from runners.models import Approval
from runners.runtimes import get_runtime, run_directory
from runners.runtimes.shim_client import ShimGone, ShimRefused
from runners.states import ANSWERED, ApprovalState

log = structlog.get_logger(__name__)


def give_answer(approval_id: UUID) -> bool:
    """Put the answer into the program's input; return False if nobody is there to take it.

    Safe to repeat: the shim gives what it was told under one key once, and tells so in the telemetry.
    """
    approval = Approval.objects.select_related("runner").filter(pk=approval_id, state__in=ANSWERED).first()
    if approval is None or approval.generation != approval.runner.generation:
        log.info("answer_not_wanted", approval_id=str(approval_id))
        return False
    runner = approval.runner
    allow = approval.state == ApprovalState.ALLOWED
    line = get_backend(runner.backend).answer(approval.request_id, allow=allow, message=approval.message)
    try:
        directory = run_directory(runner.pk, approval.generation)
        get_runtime(runner.runtime).input(directory, line, once=approval.request_id)
    except ShimGone:
        # It ended meanwhile, and that is reported by itself.
        log.info("answer_came_late", approval_id=str(approval_id), runner_id=str(runner.pk))
        return False
    except ShimRefused as refusal:
        # Sent again by the reconciler for as long as the attempt lives.
        log.warning("answer_not_given", approval_id=str(approval_id), reason=str(refusal))
        return False
    return True
