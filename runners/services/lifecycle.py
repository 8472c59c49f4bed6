"""What the node agent reports of a process: it started, paused, ended."""

import signal as signals
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from outbox.services import alert
from outbox.states import Severity
from runners.models import Runner
from runners.services.restart import CRASH_LOOP, plan_restart
from runners.shim.limits import REASONS
from runners.sql import end_sessions
from runners.states import RunnerStatus, sources
from runners.transitions import Moves

ACTOR = "system:node"
#: Of an attempt that its shim ended for going past a limit, whatever its exit code.
LIMIT_REASONS = frozenset(REASONS.values())


#: Kinds of records that may move a runner.
MOVING = frozenset({"started", "paused", "resumed", "exit"})


def apply_record(
    moves: Moves,
    runner: Runner,
    record: Mapping[str, Any],
    parser_state: Mapping[str, Any],
    *,
    limited_until: datetime | None = None,
) -> None:
    """Move the runner as one lifecycle record of its telemetry says; other kinds of record change nothing here.

    `limited_until`: until when its provider's limit holds, if that is why it gave up.

    What no longer fits (a start, when the runner was stopped meanwhile) is passed over: the record is history.
    """
    match record.get("kind"):
        case "started":
            _started(moves, runner, record)
        case "paused":
            _move_if_legal(moves, runner, RunnerStatus.PAUSED, reason=runner.held_reason)
        case "resumed":
            _move_if_legal(
                moves, runner, RunnerStatus.RUNNING, allowed=frozenset({RunnerStatus.PAUSED, RunnerStatus.UNKNOWN})
            )
        case "exit":
            _ended(moves, runner, record, parser_state, limited_until)


def write(moves: Moves) -> None:
    """Write the moves, and the ends of the sessions whose runners ended."""
    arrived = moves.write()
    end_sessions([(each.session_id, each.ended_at) for each in arrived if each.session_id and each.ended_at])


def _started(moves: Moves, runner: Runner, record: Mapping[str, Any]) -> None:
    identity = {
        "pid": record["pid"],
        "process_started_at": str(record["start_ticks"]),
        "boot_id": record["boot_id"],
        "started_at": moment(record),
        "limits_in_force": record.get("limits") or {},
    }
    if runner.status == RunnerStatus.STARTING:
        _move_if_legal(moves, runner, RunnerStatus.RUNNING, **identity)
    else:
        # Asked to stop before it was seen to run: the identity is worth keeping, the status stays.
        moves.note(runner, **identity)


def _ended(
    moves: Moves,
    runner: Runner,
    record: Mapping[str, Any],
    parser_state: Mapping[str, Any],
    limited_until: datetime | None,
) -> None:
    to, reason = verdict(runner.status, runner.reason, record, parser_state)
    _end(
        moves,
        runner,
        to,
        reason,
        limited_until=limited_until,
        exit_code=record.get("code"),
        exit_signal=record.get("signal"),
        ended_at=moment(record),
    )


def _end(
    moves: Moves,
    runner: Runner,
    to: RunnerStatus,
    reason: str,
    *,
    limited_until: datetime | None = None,
    **changes: Any,
) -> None:
    """Move to an end, with the restart that the runner's policy asks for."""
    restart_at, reason = plan_restart(runner, to, reason, limited_until=limited_until)
    moved = _move_if_legal(moves, runner, to, reason=reason, restart_at=restart_at, **changes)
    if moved and reason.startswith(CRASH_LOOP):
        alert(
            Severity.CRITICAL,
            f"{runner.name} is in a crash loop",
            reason,
            about=runner.aggregate,
            project=runner.project.name,
        )


def verdict(
    status: str, wish: str, record: Mapping[str, Any], parser_state: Mapping[str, Any]
) -> tuple[RunnerStatus, str]:
    """Return how an ended process counts, and why; `wish` is the reason with which it was asked to stop, if it was.

    Terminated: it was asked to stop, or exited with 0 and did not itself report failure. Failed: everything else.
    """
    code, signal, reason = record.get("code"), record.get("signal"), str(record.get("reason", ""))
    if status == RunnerStatus.STOPPING and reason != "lost":
        return RunnerStatus.TERMINATED, wish or reason or "stopped"
    if reason in LIMIT_REASONS:
        detail = record.get("stop_reason")
        return RunnerStatus.FAILED, f"{reason}: {detail}" if detail else reason
    if parser_state.get("failure"):
        return RunnerStatus.FAILED, str(parser_state["failure"])
    if code == 0:
        return RunnerStatus.TERMINATED, "exited"
    if signal:
        return RunnerStatus.FAILED, f"ended by {_signal_name(signal)}"
    if code is not None and reason in {"", "exited"}:
        return RunnerStatus.FAILED, f"exit code {code}"
    return RunnerStatus.FAILED, reason or "ended without a word"


def moment(record: Mapping[str, Any]) -> datetime:
    """Return when a telemetry record was written, as its node's clock said."""
    stamp = record.get("t")
    return datetime.fromtimestamp(stamp, UTC) if isinstance(stamp, int | float) else timezone.now()


def report_alive(runner: Runner, *, paused: bool) -> None:
    """A node that was silent answers again, and this process is there. The runner is locked."""
    to = RunnerStatus.PAUSED if paused else RunnerStatus.RUNNING
    moves = Moves(actor=ACTOR)
    _move_if_legal(moves, runner, to, allowed=frozenset({RunnerStatus.UNKNOWN}))
    write(moves)


def report_lost(runner: Runner) -> None:
    """The node answers, and has no such process and no record of its end. The runner is locked."""
    moves = Moves(actor=ACTOR)
    _end(moves, runner, RunnerStatus.FAILED, "lost: its node has no such process")
    write(moves)


def _move_if_legal(
    moves: Moves, runner: Runner, to: RunnerStatus, *, allowed: frozenset[RunnerStatus] | None = None, **changes: Any
) -> bool:
    """Move the locked `runner`, unless its status has gone elsewhere since the record was written."""
    starts = sources(to) if allowed is None else sources(to) & allowed
    if runner.status not in starts:
        return False
    moves.move(runner, to, allowed=allowed, **changes)
    return True


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"
