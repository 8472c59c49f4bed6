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
from runners.sql_rows import update_together
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
    **changes: Any,
) -> Runner:
    """Move one attempt of a runner to `to`, and return it; raise MoveRefused if that is not legal now.

    Status, history row and event commit together or not at all. `changes` are other columns written with the status;
    `allowed` narrows the states to come from. The runner's row is locked until the transaction ends.
    """
    runner = locked_runners([runner_id]).get(runner_id)
    if runner is None:
        raise MoveRefused(f"There is no runner {runner_id}.", runner_id=str(runner_id))
    if runner.generation != generation:
        raise MoveRefused(
            f"{runner.name} is at attempt {runner.generation}: a message of attempt {generation} is refused.",
            status=runner.status,
            generation=runner.generation,
        )
    move_many([runner], to, actor=actor, reason=reason, allowed=allowed, **changes)
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
    for runner in runners:
        _check(runner, to, allowed)
    changes = _changes(to, reason=reason, **changes)
    for runner in runners:
        _set(runner, changes)
    Runner.objects.filter(pk__in=[runner.pk for runner in runners]).update(**changes)
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
    write_history((runner, start, actor) for runner, start in arrived)
    with bunched():
        for runner, start in arrived:
            tell_arrival(runner, start, actor=actor)
    _follow_ends([runner for runner, _ in arrived])


def write_history(arrivals: Iterable[tuple[Runner, str, str]]) -> None:
    """Write the history rows of statuses that were just written: each with where it came from, and its actor."""
    arrived = list(arrivals)
    RunnerMove.objects.bulk_create(_history(runner, start, actor=actor) for runner, start, actor in arrived)
    _record_attempts([runner for runner, _, _ in arrived])


class Moves:
    """Moves of locked runners, each to its own place, that are written together: one statement for each table.

    For whoever takes in what many runners did since it last looked. A runner may move several times: it has its new
    status at once, all rows come with `write`. Events are published as it moves: best in a bunch (outbox), which ends
    before `write`. Runners are loaded with project and node. `also`: other columns than OWN_COLUMNS that may change.
    """

    def __init__(self, *, actor: str, also: frozenset[str] = frozenset()) -> None:
        self.actor = actor
        self.columns = OWN_COLUMNS | also
        self._history: list[RunnerMove] = []
        self._changed: dict[UUID, Runner] = {}
        self._arrived: dict[UUID, Runner] = {}

    def move(
        self,
        runner: Runner,
        to: RunnerStatus,
        *,
        reason: str = "",
        allowed: frozenset[RunnerStatus] | None = None,
        **changes: Any,
    ) -> None:
        """Move a runner as move() does; `changes` are of its columns. Raises MoveRefused."""
        start = _check(runner, to, allowed)
        self.note(runner, **_changes(to, reason=reason, **changes))
        self._history.append(_history(runner, start.value, actor=self.actor))
        self._arrived[runner.pk] = runner
        tell_arrival(runner, start.value, actor=self.actor)

    def note(self, runner: Runner, **changes: Any) -> None:
        """Change other columns of a runner without a move."""
        assert self.columns.issuperset(changes), changes  # noqa: S101 - others would not be written
        _set(runner, changes)
        self._changed[runner.pk] = runner

    def write(self) -> list[Runner]:
        """Write everything; return those that moved, as they are now."""
        update_together([*self._changed.values()], tuple(sorted(self.columns)))
        RunnerMove.objects.bulk_create(self._history)
        arrived = [*self._arrived.values()]
        _record_attempts(arrived)
        _follow_ends(arrived)
        self._history, self._changed, self._arrived = [], {}, {}
        return arrived


#: Columns that tell where a runner stands, rather than what was asked for.
OWN_COLUMNS = frozenset({
    "status", "status_changed_at", "reason", "started_at", "ended_at", "exit_code", "exit_signal", "restart_at",
    "held_at", "held_reason", "limits_in_force", "boot_id", "pid", "process_started_at",
})  # fmt: skip


def _check(runner: Runner, to: RunnerStatus, allowed: frozenset[RunnerStatus] | None) -> RunnerStatus:
    """Return where the runner stands. Raises MoveRefused if it may not go to `to` from there."""
    start = RunnerStatus(runner.status)
    if start not in (sources(to) if allowed is None else sources(to) & allowed):
        raise MoveRefused(f"{runner.name} is {start.value}: it cannot become {to.value}.", status=start.value)
    return start


def _history(runner: Runner, start: str, *, actor: str) -> RunnerMove:
    return RunnerMove(
        runner=runner,
        generation=runner.generation,
        from_status=start,
        to_status=runner.status,
        actor=actor,
        reason=runner.reason,
        at=runner.status_changed_at,
    )


def tell_arrival(runner: Runner, start: str, *, actor: str) -> None:
    """Publish an arrival, and what is to be done after it."""
    events.runner_moved(runner, start, actor=actor)
    if runner.status in TERMINAL and runner.isolation == Isolation.WORKTREE:
        finish_worktree_soon(runner)


def _follow_ends(arrived: Iterable[Runner]) -> None:
    """Withdraw what ended runners still ask; have the queue looked at if places became free and somebody waits."""
    ended = [runner for runner in arrived if runner.status in TERMINAL]
    # Not in a bunch: each question is settled in a transaction of its own within this one.
    for runner in ended:
        if runner.approvals == ApprovalMode.ASK:
            withdraw_of(runner)
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


def _changes(to: RunnerStatus, *, reason: str, **changes: Any) -> dict[str, Any]:
    """Return all columns that a move to `to` writes."""
    now = timezone.now()
    changes |= {"status": to, "status_changed_at": now, "reason": reason[:200]}
    changes.setdefault("ended_at", now if to in TERMINAL else None)
    changes.setdefault("restart_at", None)
    if to not in {RunnerStatus.PAUSED, RunnerStatus.UNKNOWN}:
        changes |= {"held_at": None, "held_reason": ""}
    return changes


def _set(runner: Runner, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(runner, name, value)
