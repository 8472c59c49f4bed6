"""The only writer of a runner's status."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from outbox.services import bunched, enqueue
from runners import events
from runners.approval_transitions import withdraw_of
from runners.exceptions import MoveRefused
from runners.models import Attempt, Runner, RunnerMove
from runners.states import TERMINAL, ApprovalMode, Isolation, RunnerStatus, sources

START_WAITING_TASK = "runners.tasks.start_waiting"
FINISH_WORKTREE_TASK = "runners.tasks.finish_worktree"
CONTROL_QUEUE = "stratavore.control"


@transaction.atomic
def move(
    runner_id: UUID,
    to: RunnerStatus,
    *,
    generation: int,
    actor: str,
    reason: str = "",
    allowed: frozenset[RunnerStatus] | None = None,
    next_generation: int | None = None,
    locked: Runner | None = None,
    **changes: Any,
) -> Runner:
    """Move one attempt of a runner to `to`, and return it; raise MoveRefused if that is not legal now.

    Status, history row and event commit together or not at all. `changes` are other columns written with the status;
    `allowed` narrows the states to come from; `next_generation` begins a new attempt. The runner's row is locked until
    the transaction ends; a caller that has locked it already, with project and node, gives it as `locked`.
    """
    runner = locked or locked_runners([runner_id]).get(runner_id)
    if runner is None:
        raise MoveRefused(f"There is no runner {runner_id}.", runner_id=str(runner_id))
    if runner.generation != generation:
        raise MoveRefused(
            f"{runner.name} is at attempt {runner.generation}: a message of attempt {generation} is refused.",
            status=runner.status,
            generation=runner.generation,
        )
    move_many(
        [runner], to, actor=actor, reason=reason, allowed=allowed, **changes, generation=next_generation or generation
    )
    return runner


@transaction.atomic
def move_many(
    runners: Sequence[Runner],
    to: RunnerStatus,
    *,
    actor: str,
    reason: str = "",
    allowed: frozenset[RunnerStatus] | None = None,
    **changes: Any,
) -> None:
    """Move runners to `to` that the caller has locked, with their projects and nodes. `changes` as for move().

    Raises MoveRefused if one of them may not, and then none was moved: the caller sorts those out before.
    """
    starts = [RunnerStatus(runner.status) for runner in runners]
    legal = sources(to) if allowed is None else sources(to) & allowed
    for runner, start in zip(runners, starts, strict=True):
        if start not in legal:
            raise MoveRefused(f"{runner.name} is {start.value}: it cannot become {to.value}.", status=start.value)
    _write(runners, to, reason=reason, **changes)
    record_arrivals(zip(runners, (start.value for start in starts), strict=True), actor=actor)


def locked_runners(ids: Iterable[UUID]) -> dict[UUID, Runner]:
    """Return the runners that there are of `ids`, with project and node, their rows locked until the transaction ends.

    Always in the order of ids, so that no two transactions wait for each other.
    """
    runners = Runner.objects.select_for_update(of=("self",)).select_related("project", "node")
    return {runner.pk: runner for runner in runners.filter(pk__in=list(ids)).order_by("pk")}


def record_arrival(runner: Runner, start: str, *, actor: str) -> None:
    """Write the history row and the event of a status that was just written. A new runner comes from ""."""
    record_arrivals([(runner, start)], actor=actor)


def record_arrivals(arrivals: Iterable[tuple[Runner, str]], *, actor: str) -> None:
    """Write the history rows and the events of statuses that were just written, each with where it came from."""
    arrived = list(arrivals)
    RunnerMove.objects.bulk_create(
        RunnerMove(
            runner=runner,
            generation=runner.generation,
            from_status=start,
            to_status=runner.status,
            actor=actor,
            reason=runner.reason,
            at=runner.status_changed_at,
        )
        for runner, start in arrived
    )
    _record_attempts([runner for runner, _ in arrived])
    with bunched():
        for runner, start in arrived:
            events.runner_moved(runner, start, actor=actor)
            if runner.status in TERMINAL and runner.isolation == Isolation.WORKTREE:
                finish_worktree_soon(runner)
    # Not in the bunch: each question is settled in a transaction of its own within this one.
    for runner, _ in arrived:
        if runner.status in TERMINAL and runner.approvals == ApprovalMode.ASK:
            withdraw_of(runner)
    ended = any(runner.status in TERMINAL for runner, _ in arrived)
    if ended and Runner.objects.filter(status=RunnerStatus.QUEUED).exists():
        start_waiting_soon()


def start_waiting_soon() -> None:
    """Have the queue looked at as soon as this transaction has committed."""
    enqueue(START_WAITING_TASK, args=[], queue=CONTROL_QUEUE, aggregate="runners.queue")


def finish_worktree_soon(runner: Runner) -> None:
    """Have an ended runner's worktree looked after on its node; of one that never had a node there is none."""
    if runner.node is not None:
        enqueue(FINISH_WORKTREE_TASK, args=[str(runner.pk)], queue=runner.node.queue, aggregate=runner.aggregate)


def _record_attempts(runners: Iterable[Runner]) -> None:
    """Keep the attempts' own records in step. A runner that was never given a place has none."""
    facts = ["node_id", "session_id", "started_at", "ended_at", "status", "exit_code", "exit_signal", "reason"]
    facts += ["resumed"]
    attempts = [
        Attempt(runner=runner, generation=runner.generation, **{fact: getattr(runner, fact) for fact in facts})
        for runner in runners
        if runner.node_id is not None
    ]
    # One statement where update_or_create takes five: every move of every runner comes through here.
    Attempt.objects.bulk_create(
        attempts,
        update_conflicts=True,
        unique_fields=["runner", "generation"],
        update_fields=[fact.removesuffix("_id") for fact in facts],
    )


def _write(runners: Sequence[Runner], to: RunnerStatus, *, reason: str, **changes: Any) -> None:
    now = timezone.now()
    changes |= {"status": to, "status_changed_at": now, "reason": reason[:200]}
    changes.setdefault("ended_at", now if to in TERMINAL else None)
    changes.setdefault("restart_at", None)
    if to not in {RunnerStatus.PAUSED, RunnerStatus.UNKNOWN}:
        changes |= {"held_at": None, "held_reason": ""}
    for runner in runners:
        for name, value in changes.items():
            setattr(runner, name, value)
    Runner.objects.filter(pk__in=[runner.pk for runner in runners]).update(**changes)
