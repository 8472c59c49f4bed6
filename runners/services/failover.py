"""When a node is lost: its runners go on elsewhere, and what is left of them there is fenced when it comes back."""

from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from outbox.services import record_act
from runners import events
from runners.exceptions import LaunchRefused, MoveRefused
from runners.models import Attempt, Node, Observation, Runner
from runners.services.findings import note
from runners.services.restart import plan_restart, restart_runner
from runners.sql import database_now
from runners.states import NodeStatus, RestartPolicy, RunnerStatus
from runners.transitions import move

log = structlog.get_logger(__name__)

ACTOR = "system:failover"
#: What may be at work on a lost node, nobody knows. A stopping runner is left: it was asked to end, not to go on.
LOSABLE = frozenset({RunnerStatus.UNKNOWN, RunnerStatus.STARTING})


def lost_nodes() -> int:
    """The runners of a node that is silent for too long are started elsewhere, if their restart policy asks for it.

    Those that find no other place stay unknown and are tried again: nothing is ended that nobody replaces.
    """
    silent_since = database_now() - timedelta(seconds=settings.NODE_LOST_AFTER_SECONDS)
    lost = Node.objects.filter(status=NodeStatus.OFFLINE, last_seen_at__lt=silent_since)
    runners = Runner.objects.filter(node__in=lost, status__in=LOSABLE).exclude(restart_policy=RestartPolicy.NEVER)
    return sum(_try_elsewhere(runner_id) for runner_id in runners.order_by("created_at").values_list("pk", flat=True))


def _try_elsewhere(runner_id: UUID) -> bool:
    try:
        return _start_elsewhere(runner_id)
    except (LaunchRefused, MoveRefused) as refusal:
        log.warning("failover_waits", runner_id=str(runner_id), reason=refusal.message)
        return False


@transaction.atomic
def _start_elsewhere(runner_id: UUID) -> bool:
    """Fail this attempt and start the next, both or neither; False if its policy does not ask for another.

    Raises NoPlace where there is none, and then nothing has changed.
    """
    # In the order in which telemetry is taken in: observation, then runner.
    Observation.objects.select_for_update().get(runner_id=runner_id)
    runner = Runner.objects.select_for_update(of=("self",)).select_related("node").get(pk=runner_id)
    node = runner.node
    if runner.status not in LOSABLE or node is None or node.status != NodeStatus.OFFLINE:
        return False  # it was heard of again since we looked
    restart_at, _ = plan_restart(runner, RunnerStatus.FAILED, "")
    if restart_at is None:
        return False
    reason = f"node lost: {node.name} is silent since {node.last_seen_at:%H:%M:%S}"
    move(runner_id, RunnerStatus.FAILED, generation=runner.generation, actor=ACTOR, reason=reason)
    moved = restart_runner(runner_id, actor=ACTOR, reason=f"restarted: {node.name} is lost")
    note("lost_nodes", runner=moved, node=node, found=reason, done=f"started again on {moved.node}")
    log.warning("failed_over", runner_id=str(runner_id), lost=node.name, now=str(moved.node))
    return True


@transaction.atomic
def fence(runner_id: UUID, generation: int, *, node: str) -> bool:
    """Record that a node stops an attempt that should not live any more; return whether that is news.

    Only of an attempt that has a successor: one of a runner that ended is stopped, too, but nothing came after it.
    """
    runner = Runner.objects.select_related("project").filter(pk=runner_id, generation__gt=generation).first()
    if runner is None:
        return False
    older = Attempt.objects.filter(runner=runner, generation=generation, fenced_at__isnull=True)
    if not older.update(fenced_at=database_now()):
        return False
    events.attempt_fenced(runner, generation, node=node)
    record_act(
        "attempt.fence",
        actor=ACTOR,
        target_type="runner",
        target_id=runner.pk,
        target_name=runner.name,
        after={"generation": generation, "node": node},
        reason=f"attempt {runner.generation} has taken its place",
    )
    return True
