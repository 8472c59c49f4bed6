"""Compare what is wanted with what is seen, and mend the difference: one small function a rule.

The control plane runs the rules that need only the database, every 30 s; the node agent runs those that need its
processes. Every rule may run at any time, twice, or on two machines at once.
"""

from collections.abc import Callable, Collection, Container, Mapping
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q

from outbox.services import alert
from outbox.states import Severity
from runners.exceptions import MoveRefused
from runners.models import Node, Operation, Runner, Worktree
from runners.querysets import RunnerQuerySet
from runners.services.approvals import send_again
from runners.services.failover import lost_nodes
from runners.services.findings import CONTROL_PLANE, note, note_round, prune_findings
from runners.services.launch import send_start
from runners.services.lifecycle import report_alive, report_lost
from runners.services.operations.begin import send_run
from runners.services.steer import send_stop
from runners.sql import database_now
from runners.states import LIVE, TERMINAL, NodeStatus, OperationStatus, RunnerStatus, WorktreeState
from runners.transitions import finish_worktree_soon, move

log = structlog.get_logger(__name__)

ACTOR = "system:reconciler"
#: One attempt of a runner: its id and generation.
Attempt = tuple[UUID, int]
#: A node agent writes every 5 s; three missed and some slack for a busy machine.
NODE_SILENCE = timedelta(seconds=20)
#: Starting takes well under a second; a start task can be lost with a killed worker on a Redis-protocol broker.
START_PATIENCE = timedelta(seconds=15)
#: After the grace period the shim needs moments to kill and record.
STOP_PATIENCE = timedelta(seconds=15)
#: Progress is written twice a second; sent twice, an operation is only done by two workers.
OPERATION_PATIENCE = timedelta(seconds=15)
#: Reading and merging a large worktree takes minutes.
WORKTREE_PATIENCE = timedelta(minutes=15)


def reconcile() -> dict[str, int]:
    """Run the rules of the control plane; return how many times each acted."""
    done = {rule.__name__: rule() for rule in RULES}
    if any(done.values()):
        log.info("reconciled", **done)
    note_round(CONTROL_PLANE)
    prune_findings()
    return done


def silent_nodes() -> int:
    """A silent node is offline, and its runners unknown: not failed, they may well be at work."""
    silent = Node.objects.exclude(status=NodeStatus.OFFLINE).filter(last_seen_at__lt=database_now() - NODE_SILENCE)
    changed = 0
    for node in silent:
        _set_offline(node)
        # A stopping runner stays so: unknown would forget that it was asked to end.
        for runner in Runner.objects.filter(node=node, status__in=[RunnerStatus.RUNNING, RunnerStatus.PAUSED]):
            changed += _try_move(runner, RunnerStatus.UNKNOWN, reason=f"node {node.name} is silent")
    return changed


@transaction.atomic
def _set_offline(node: Node) -> None:
    if not Node.objects.filter(pk=node.pk, last_seen_at=node.last_seen_at).update(status=NodeStatus.OFFLINE):
        return
    found = f"silent since {node.last_seen_at:%Y-%m-%d %H:%M:%S}"
    note("silent_nodes", node=node, found=found, done="it is offline, and its runners are unknown")
    alert(
        Severity.WARNING,
        f"Node {node.name} is silent",
        f"It was last heard of at {node.last_seen_at:%Y-%m-%d %H:%M:%S} UTC. What its runners do is not known.",
        about=f"node:{node.name}",
    )


def unstarted_runners() -> int:
    """A `starting` runner without a process is sent to its node again."""
    late = Runner.objects.filter(
        status=RunnerStatus.STARTING,
        status_changed_at__lt=database_now() - START_PATIENCE,
        node__status=NodeStatus.ONLINE,
    )
    return _send_again("unstarted_runners", late, RunnerStatus.STARTING, send_start)


def unstopped_runners() -> int:
    """A `stopping` runner that has not ended is told again, now without grace."""
    now = database_now()
    late = [
        runner.pk
        for runner in Runner.objects.filter(status=RunnerStatus.STOPPING, node__status=NodeStatus.ONLINE)
        if runner.status_changed_at < now - STOP_PATIENCE - timedelta(seconds=runner.grace_seconds)
    ]
    return _send_again(
        "unstopped_runners",
        Runner.objects.filter(pk__in=late),
        RunnerStatus.STOPPING,
        lambda runner: send_stop(runner, grace_seconds=0),
    )


def unfinished_worktrees() -> int:
    """An ended runner's worktree that nobody looked after, or a wish for it that waits, is sent to its node again."""
    late = database_now() - WORKTREE_PATIENCE
    waiting = Worktree.objects.filter(
        Q(state=WorktreeState.OPEN) | ~Q(wanted=""),
        runner__status__in=TERMINAL,
        runner__restart_at__isnull=True,
        runner__ended_at__lt=late,
        changed_at__lt=late,
        runner__node__status=NodeStatus.ONLINE,
    )
    return sum(_finish_again(worktree.pk, late) for worktree in waiting)


@transaction.atomic
def _finish_again(runner_id: UUID, late: datetime) -> int:
    # The clock starts anew, so that the next round leaves it.
    if not Worktree.objects.filter(pk=runner_id, changed_at__lt=late).update(changed_at=database_now()):
        return 0
    runner = Runner.objects.select_related("node").get(pk=runner_id)
    finish_worktree_soon(runner)
    note("unfinished_worktrees", runner=runner, found="its worktree waits", done=f"sent to {runner.node} again")
    return 1


def stalled_operations() -> int:
    """An operation that got no further for a while is sent to the workers again."""
    stalled = Operation.objects.filter(
        status__in=[OperationStatus.PENDING, OperationStatus.RUNNING],
        progressed_at__lt=database_now() - OPERATION_PATIENCE,
    )
    return sum(_run_again(operation) for operation in stalled)


@transaction.atomic
def _run_again(operation: Operation) -> int:
    still = Operation.objects.filter(pk=operation.pk, progressed_at=operation.progressed_at)
    if not still.update(progressed_at=database_now()):
        return 0
    send_run(operation)
    found = f"got no further since {operation.progressed_at:%H:%M:%S}"
    note("stalled_operations", name=str(operation), found=found, done="sent to the workers again")
    return 1


def undelivered_answers() -> int:
    """An answer that a live program waits for and has not got is sent to its node again."""
    return send_again()


def reconcile_node(node_name: str, alive: Mapping[Attempt, bool], kept: Container[Attempt]) -> int:
    """Hold the database against what a node has; return how many runners changed.

    `alive`: attempts with a shim, and whether each is paused; `kept`: those with any record on the node. An unknown
    runner that is alive is what its shim says; one of which the node has no record is lost.
    """
    changed = 0
    for runner in Runner.objects.filter(node__name=node_name, status__in=LIVE).select_related("node"):
        attempt = (runner.pk, runner.generation)
        if attempt not in kept:
            # One that is asked to end may not have begun: its stop task sees to it that it never does, and says so.
            if runner.status != RunnerStatus.STOPPING:
                changed += _under_lock(runner, report_lost, "lost_runners", "its node has no such process", "failed")
        elif attempt in alive and runner.status == RunnerStatus.UNKNOWN:
            report, status = partial(report_alive, paused=alive[attempt]), "paused" if alive[attempt] else "running"
            changed += _under_lock(runner, report, "runners_found_again", "its node has it alive", f"it is {status}")
    return changed


def superseded(alive: Collection[Attempt]) -> list[Attempt]:
    """Return the live attempts that should not be: their runner is gone, has ended, or is at a newer attempt."""
    wanted = dict(
        Runner.objects.open().filter(pk__in=[runner_id for runner_id, _ in alive]).values_list("pk", "generation")
    )
    return [(runner_id, generation) for runner_id, generation in alive if wanted.get(runner_id) != generation]


@transaction.atomic
def _under_lock(runner: Runner, report: Callable[[Runner], None], rule: str, found: str, done: str) -> int:
    locked = Runner.objects.select_for_update().attempt(runner.pk, runner.generation).first()
    if locked is None or locked.status != runner.status:
        return 0
    report(locked)
    note(rule, runner=runner, found=found, done=done, place=str(runner.node))
    return 1


@transaction.atomic
def _send_again(rule: str, runners: RunnerQuerySet, status: RunnerStatus, send: Callable[[Runner], None]) -> int:
    """Send for each runner that still has the status; its clock starts anew, so that the next round leaves it."""
    sent = 0
    for runner in runners.select_for_update(of=("self",), skip_locked=True).select_related("node"):
        Runner.objects.filter(pk=runner.pk, status=status).update(status_changed_at=database_now())
        send(runner)
        found = f"{status.value} since {runner.status_changed_at:%H:%M:%S}"
        note(rule, runner=runner, found=found, done=f"sent to {runner.node} again")
        sent += 1
    return sent


def _try_move(runner: Runner, to: RunnerStatus, *, reason: str) -> int:
    try:
        move(runner.pk, to, generation=runner.generation, actor=ACTOR, reason=reason)
    except MoveRefused:
        return 0  # it ended, or moved on, since it was read
    return 1


#: In the order in which they run: what one finds, the next may mend.
RULES: tuple[Callable[[], int], ...] = (
    silent_nodes,
    lost_nodes,
    unstarted_runners,
    unstopped_runners,
    unfinished_worktrees,
    stalled_operations,
    undelivered_answers,
)
