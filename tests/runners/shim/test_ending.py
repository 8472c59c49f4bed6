"""How agents end: asked, told, killed, and what they leave behind."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from runners.runtimes.shim_client import ShimRefused
from runners.shim import identity
from tests.runners.shim.attempt import PYTHON, Attempt, wait_for

STUBBORN = """
import os, signal, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: os.write(1, b'no\\n'))
os.write(1, b'ready\\n')
while True: time.sleep(60)
"""


def is_gone(pid: int) -> bool:
    process = identity.look(pid)
    return process is None or process.is_dead


def await_ready(attempt: Attempt) -> None:
    attempt.await_output("ready")


def test_an_agent_that_heeds_sigint_is_stopped_at_once(attempt_either_way: Attempt) -> None:
    attempt = attempt_either_way.shell("trap 'echo bye; exit 7' INT; echo ready; while :; do sleep 0.02; done")
    await_ready(attempt)

    attempt.stop(10, "the budget is spent")

    record = attempt.exit(3)
    assert (record["code"], record["reason"], record["stop_reason"]) == (7, "stopped", "the budget is spent")
    assert [entry["kind"] for entry in attempt.telemetry()][-3:] == ["stopping", "line", "exit"]
    assert attempt.telemetry("stopping")[0]["reason"] == "the budget is spent"
    assert "forced" not in record


def test_sigterm_follows_an_ignored_sigint(attempt: Attempt) -> None:
    attempt.shell("trap '' INT; echo ready; exec sleep 60")
    await_ready(attempt)

    attempt.stop(0.4)

    record = attempt.exit(3)
    assert (record["signal"], record["reason"]) == (signal.SIGTERM, "stopped")


def test_an_agent_that_ignores_everything_is_killed_after_the_grace_period(attempt: Attempt) -> None:
    attempt.python(STUBBORN)
    await_ready(attempt)

    began = time.monotonic()
    attempt.stop(0.5)
    record = attempt.exit(5)

    assert 0.45 < time.monotonic() - began < 2
    assert (record["signal"], record["reason"], record["forced"]) == (signal.SIGKILL, "stopped", True)
    assert attempt.lines() == ["ready", "no", "no"]


def test_a_repeated_stop_with_a_shorter_grace_hurries(attempt: Attempt) -> None:
    attempt.python(STUBBORN)
    await_ready(attempt)

    attempt.stop(60, "first")
    attempt.stop(90, "second")
    attempt.stop(0.1, "third")

    record = attempt.exit(3)
    assert record["stop_reason"] == "first"
    assert len(attempt.telemetry("stopping")) == 1


def test_kill_ends_everything_at_once(attempt: Attempt) -> None:
    attempt.python(STUBBORN)
    await_ready(attempt)

    attempt.runtime.kill(attempt.directory, reason="operator")

    record = attempt.exit(2)
    assert (record["signal"], record["reason"], record["stop_reason"]) == (signal.SIGKILL, "killed", "operator")


def test_a_paused_agent_stands_still_with_all_its_descendants(attempt: Attempt) -> None:
    # The grandchild left the group, as tools that agents run often do.
    attempt.shell("setsid sleep 61 & echo $!; echo ready; exec sleep 60")
    await_ready(attempt)

    def children() -> list[identity.Process]:
        return [p for p in identity.table().values() if p.session == p.pid and p.parent == attempt.agent_pid]

    (escaped,) = wait_for(children, "the one with a session of its own")

    def states() -> set[str]:
        return {process.state for pid in (attempt.agent_pid, escaped.pid) if (process := identity.look(pid))}

    attempt.runtime.pause(attempt.directory)
    attempt.runtime.pause(attempt.directory)
    wait_for(lambda: states() == {"T"}, "both to stand still")
    assert attempt.client.status()["state"] == "paused"

    attempt.runtime.resume(attempt.directory)
    attempt.runtime.resume(attempt.directory)
    wait_for(lambda: states() == {"S"}, "both to go on")

    assert [entry["kind"] for entry in attempt.telemetry()][-2:] == ["paused", "resumed"]


def test_a_paused_agent_can_be_stopped_the_gentle_way(attempt: Attempt) -> None:
    attempt.shell("trap 'echo bye; exit 7' INT; echo ready; while :; do sleep 0.02; done")
    await_ready(attempt)
    attempt.client.pause()

    attempt.stop(10)

    assert attempt.exit(3)["code"] == 7


def test_an_agent_stopped_by_somebody_else_is_woken_to_be_stopped(attempt: Attempt) -> None:
    attempt.shell("trap 'exit 7' INT; echo ready; while :; do sleep 0.02; done")
    await_ready(attempt)
    os.kill(attempt.agent_pid, signal.SIGSTOP)

    attempt.stop(10)

    assert attempt.exit(3)["code"] == 7


def test_an_agent_that_is_being_stopped_cannot_be_paused(attempt: Attempt) -> None:
    attempt.python(STUBBORN)
    await_ready(attempt)
    attempt.stop(60)

    with pytest.raises(ShimRefused, match="being stopped"):
        attempt.client.pause()


DAEMON = """
import os, signal, sys, time
{signals}
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {clear}
        while True: time.sleep(60)
    os._exit(0)
os.wait()
print('ready', flush=True)
{after}
"""


def daemons_of(attempt: Attempt) -> list[int]:
    """The pids below the shim other than the agent."""
    below = identity.descendants(attempt.shim_pid, identity.table())
    return [process.pid for process in below if process.pid != attempt.agent_pid]


IGNORE = "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)"
#: Without its environment no marker finds it: only that it is below the shim.
EXEC_BARE = "os.execve('/bin/sleep', ['sleep', '60'], {})"


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("signals", ["", IGNORE])
@pytest.mark.parametrize("clear", ["", EXEC_BARE])
def test_a_daemonised_grandchild_ends_with_its_agent(attempt: Attempt, tty: bool, signals: str, clear: str) -> None:
    attempt.python(DAEMON.format(signals=signals, clear=clear, after="sys.stdin.readline(); os._exit(9)"), tty=tty,
                   stdin="" if tty else "\n")  # fmt: skip
    if tty:
        await_ready(attempt)
        (daemon,) = wait_for(lambda: daemons_of(attempt), "the daemon")
        attempt.client.input("\r")

    record = attempt.exit(5)

    # It held terminal or pipes open, and could hold up the record no longer than it lived.
    assert (record["code"], record["reason"]) == (9, "exited")
    assert record["duration_seconds"] < 3
    if tty:
        assert is_gone(daemon)
    assert "left processes" in attempt.log()


def test_a_stop_finds_daemons_too(attempt: Attempt) -> None:
    attempt.python(DAEMON.format(signals=IGNORE, clear=EXEC_BARE, after="time.sleep(60)"))
    await_ready(attempt)
    (daemon,) = wait_for(lambda: daemons_of(attempt), "the daemon")

    attempt.stop(0.3)

    assert attempt.exit(5)["reason"] == "stopped"
    assert is_gone(daemon)


def test_orphans_are_reaped_while_the_agent_runs(attempt: Attempt) -> None:
    attempt.shell("for i in 1 2 3 4 5; do (sleep 0.01 &) ; done; echo ready; exec sleep 60")
    await_ready(attempt)

    wait_for(
        lambda: [p.pid for p in identity.table().values() if p.parent == attempt.shim_pid] == [attempt.agent_pid],
        "nothing but the agent below the shim",
    )


def test_a_process_that_forks_faster_than_it_is_killed_is_ended(attempt: Attempt) -> None:
    # Each one forks its successor and ends: whoever is in the process table is soon another.
    attempt.python(
        "import os, time\n"
        "print('ready', flush=True)\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    end = time.monotonic() + 20\n"  # by itself, too: a failure of this test must not load the machine for ever
        "    while time.monotonic() < end:\n"
        "        if os.fork(): os._exit(0)\n"
        "        time.sleep(0.002)\n"
        "    os._exit(0)\n"
        "time.sleep(60)\n"
    )
    await_ready(attempt)

    attempt.stop(0.2)

    attempt.exit(8)
    assert not [p for p in identity.table().values() if identity.is_marked(p.pid, str(attempt.runner_id), 1)]


def test_output_written_in_the_last_moment_is_there(new_attempt: Callable[..., Attempt]) -> None:
    for tty in (True, False) * 5:
        attempt = new_attempt().shell("seq 2000; echo done", tty=tty)
        attempt.exit()
        assert attempt.output().replace("\r", "") == "".join(f"{n}\n" for n in range(1, 2001)) + "done\n"


def test_output_held_open_by_a_stranger_does_not_hold_up_the_record(attempt: Attempt) -> None:
    attempt.shell("echo ready; read go; exit 2", tty=True)
    await_ready(attempt)
    # A stranger with the agent's terminal open: as by a descriptor passed over a socket.
    stranger = os.open(f"/proc/{attempt.agent_pid}/fd/1", os.O_RDWR | os.O_NOCTTY)
    try:
        attempt.client.input("\r")
        assert attempt.exit(5)["code"] == 2
    finally:
        os.close(stranger)
    assert "holds its output open" in attempt.log()


def test_a_shim_told_to_end_by_the_machine_stops_its_agent(attempt: Attempt) -> None:
    attempt.start([*PYTHON, "import time; time.sleep(60)"], grace_seconds=1)

    os.kill(attempt.shim_pid, signal.SIGTERM)

    assert attempt.exit(4)["reason"] == "stopped"


def test_the_cpu_of_orphans_counts(attempt: Attempt) -> None:
    spin = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    attempt.python(
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    if os.fork() == 0: os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', {spin!r}])\n"
        "    os._exit(0)\n"
        "os.wait(); time.sleep(0.1)\n"
        "while len(open(f'/proc/{os.getppid()}/task/{os.getppid()}/children').read().split()) > 1: time.sleep(0.01)\n"
    )

    used = attempt.exit(8)["rusage"]
    assert used["utime_seconds"] + used["stime_seconds"] >= 0.2
