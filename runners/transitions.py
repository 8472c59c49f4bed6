"""The only writer of a runner's status."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from outbox.services import enqueue
from runners import events
from runners.exceptions import MoveRefused
from runners.models import Attempt, Runner, RunnerMove
from runners.states import TERMINAL, Isolation, RunnerStatus, sources

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
    runner = locked or _lock(runner_id)
    if runner is None:
        raise MoveRefused(f"There is no runner {runner_id}.", runner_id=str(runner_id))
    start = RunnerStatus(runner.status)
    if runner.generation != generation:
        raise MoveRefused(
            f"{runner.name} is at attempt {runner.generation}: a message of attempt {generation} is refused.",
            status=start.value,
            generation=runner.generation,
        )
    if start not in (sources(to) if allowed is None else sources(to) & allowed):
        raise MoveRefused(f"{runner.name} is {start.value}: it cannot become {to.value}.", status=start.value)
    _write(runner, to, reason=reason, **changes, generation=next_generation or generation)
    record_arrival(runner, start.value, actor=actor)
    return runner


def _lock(runner_id: UUID) -> Runner | None:
    runners = Runner.objects.select_for_update(of=("self",)).select_related("project", "node")
    return runners.filter(pk=runner_id).first()


def record_arrival(runner: Runner, start: str, *, actor: str) -> None:
    """Write the history row and the event of a status that was just written. A new runner comes from ""."""
    RunnerMove.objects.create(
        runner=runner,
        generation=runner.generation,
        from_status=start,
        to_status=runner.status,
        actor=actor,
        reason=runner.reason,
        at=runner.status_changed_at,
    )
    _record_attempt(runner)
    events.runner_moved(runner, start, actor=actor)
    if runner.status in TERMINAL and runner.isolation == Isolation.WORKTREE:
        finish_worktree_soon(runner)
    if runner.status in TERMINAL and Runner.objects.filter(status=RunnerStatus.QUEUED).exists():
        start_waiting_soon()


def start_waiting_soon() -> None:
    """Have the queue looked at as soon as this transaction has committed."""
    enqueue(START_WAITING_TASK, args=[], queue=CONTROL_QUEUE, aggregate="runners.queue")


def finish_worktree_soon(runner: Runner) -> None:
    """Have an ended runner's worktree looked after on its node; of one that never had a node there is none."""
    if runner.node is not None:
        enqueue(FINISH_WORKTREE_TASK, args=[str(runner.pk)], queue=runner.node.queue, aggregate=runner.aggregate)


def _record_attempt(runner: Runner) -> None:
    """Keep the attempt's own record in step. A runner that was never given a place has none."""
    if runner.node_id is None:
        return
    facts = ["node_id", "session_id", "started_at", "ended_at", "status", "exit_code", "exit_signal", "reason"]
    facts += ["resumed"]
    attempt = Attempt(runner=runner, generation=runner.generation, **{fact: getattr(runner, fact) for fact in facts})
    # One statement where update_or_create takes five: every move of every runner comes through here.
    Attempt.objects.bulk_create(
        [attempt],
        update_conflicts=True,
        unique_fields=["runner", "generation"],
        update_fields=[fact.removesuffix("_id") for fact in facts],
    )


def _write(runner: Runner, to: RunnerStatus, *, reason: str, **changes: Any) -> None:
    now = timezone.now()
    changes |= {"status": to, "status_changed_at": now, "reason": reason[:200]}
    changes.setdefault("ended_at", now if to in TERMINAL else None)
    changes.setdefault("restart_at", None)
    if to not in {RunnerStatus.PAUSED, RunnerStatus.UNKNOWN}:
        changes |= {"held_at": None, "held_reason": ""}
    for name, value in changes.items():
        setattr(runner, name, value)
    runner.save(update_fields=list(changes))
