"""A disk that is full: a small one of its own, until somebody makes room."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runners.node_agent.attempts import Attempt as OnNode
from runners.node_agent.processes import untold
from runners.shim import rundir
from tests.conftest import not_tested
from tests.runners.shim.attempt import Attempt, wait_for


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "none", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        not_tested("a disk that is full", "Nothing can be mounted here", "Run the tests as root.")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_an_end_on_a_full_disk_is_on_record_and_told_once_there_is_room(
    new_attempt: Callable[..., Attempt], small_disk: Path
) -> None:
    attempt = new_attempt(runs=small_disk)
    attempt.python("for _ in range(40_000): print('x' * 200)\nraise SystemExit(4)")

    record = attempt.exit(60)

    assert (record["code"], record["reason"]) == (4, "exited")
    assert record["spool_error"] == "No space left on device"
    assert record["lost_bytes"] > 4_000_000
    on_node = OnNode(attempt.runner_id, 1, attempt.directory)
    assert attempt.telemetry("exit") == []
    assert untold([on_node]) == [on_node]
    with pytest.raises(OSError, match="No space left"):
        attempt.runtime.tell_end(attempt.directory)

    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)

    assert attempt.runtime.tell_end(attempt.directory)
    (told,) = attempt.telemetry("exit")
    assert {name: told[name] for name in ("code", "signal", "reason", "rusage")} == {
        name: record[name] for name in ("code", "signal", "reason", "rusage")
    }
    assert untold([on_node]) == []
    assert not attempt.runtime.tell_end(attempt.directory)


def test_an_agent_that_fills_a_disk_of_its_own_is_told_and_nothing_else_is_touched(
    new_attempt: Callable[..., Attempt], small_disk: Path
) -> None:
    attempt = new_attempt()
    attempt.shell("yes | cat > big; echo full: $?; wc -c < big", cwd=str(small_disk))

    record = attempt.exit(60)

    assert (record["code"], record["reason"]) == (0, "exited")
    assert "spool_error" not in record
    assert attempt.lines()[0] == "full: 1"
    assert int(attempt.lines()[1]) > 500_000
    assert "No space left on device" in attempt.lines("stderr")[0]


def test_an_agent_that_runs_while_its_disk_is_full_is_steered_as_ever(
    new_attempt: Callable[..., Attempt], small_disk: Path
) -> None:
    attempt = new_attempt(runs=small_disk)
    attempt.shell(
        "yes 'a line of output' | head -c 8000000; trap 'exit 7' INT; echo ready; while :; do sleep 0.02; done"
    )
    wait_for(lambda: attempt.client.status().get("lost_bytes", 0) > 2_000_000, "lost output", 60)
    assert attempt.client.status()["state"] == "running"
    attempt.stop(30)
    assert attempt.exit()["code"] in (7, None)
    assert rundir.has(str(attempt.directory), rundir.EXIT)
