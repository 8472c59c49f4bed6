"""What a shim costs: printed, and held against bounds wide enough for a busy machine."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runners.shim.attempt import Attempt


def pss_mb(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.split("Pss:")[1].split()[0]) / 1024


def test_memory_and_start_of_a_shim(
    new_attempt: Callable[..., Attempt],
    attempt_either_way: Attempt,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    attempts = [new_attempt(attempt_either_way.runtime) for _ in range(10)]
    milliseconds = []
    for attempt in attempts:
        began = time.perf_counter()
        attempt.start(["sleep", "60"])
        milliseconds.append(1000 * (time.perf_counter() - began))
    memory = statistics.median(pss_mb(attempt.shim_pid) for attempt in attempts)
    with capsys.disabled():
        name = request.node.name.partition("[")[2].rstrip("]")
        print(f"\n{name}: {memory:.1f} MB PSS, start {statistics.median(milliseconds):.1f} ms")  # noqa: T201

    assert memory < 12


def test_an_exit_is_told_soon_after_the_process_ended(
    new_attempt: Callable[..., Attempt], capsys: pytest.CaptureFixture[str]
) -> None:
    delays = []
    for _ in range(20):
        attempt = new_attempt()
        # The last thing it does is to look at the clock.
        attempt.python("import os, time; print(time.time(), flush=True); os._exit(0)")
        attempt.exit()
        delays.append(1000 * (attempt.telemetry("exit")[0]["t"] - float(attempt.lines()[0])))
    with capsys.disabled():
        print(f"\nexit told after {statistics.median(delays):.1f} ms, at most {max(delays):.1f} ms")  # noqa: T201

    assert statistics.median(delays) < 100
