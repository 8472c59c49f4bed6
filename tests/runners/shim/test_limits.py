"""What happens to an agent that goes past a limit: real processes, each with its reason on record."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from runners.shim import identity
from tests.runners.shim.attempt import Attempt, wait_for
from tests.runners.shim.test_ending import is_gone

#: Generous: the machine is shared.
SECONDS = 60.0
MB = 1024 * 1024


def ended(attempt: Attempt) -> dict[str, Any]:
    record = attempt.exit(SECONDS)
    marked = [p for p in identity.table() if identity.is_marked(p, str(attempt.runner_id), 1)]
    assert marked == [], "nothing of it is left"
    return record


def hungry(megabytes: int, *, then: str = "time.sleep(120)") -> str:
    return f"import os, time\nheld = bytearray({megabytes} << 20)\nheld[::4096] = b'x' * len(held[::4096])\n{then}\n"


def test_memory_ends_the_whole_tree_at_once(attempt_either_way: Attempt) -> None:
    # Each process alone is below the limit, and one of them left the group.
    child = hungry(40)
    attempt = attempt_either_way.python(
        f"import subprocess, sys, time\n"
        f"for new in (True, False): subprocess.Popen([sys.executable, '-I', '-S', '-c', {child!r}], "
        f"start_new_session=new)\n{hungry(40)}",
        limits={"memory_mb": 100},
    )
    record = ended(attempt)
    assert (record["reason"], record["signal"]) == ("memory", signal.SIGKILL)
    assert record["stop_reason"].endswith(" MB of 100 MB")
    assert [entry["kind"] for entry in attempt.telemetry()][-2:] == ["stopping", "exit"]


def test_memory_that_forks_share_counts_once(attempt: Attempt) -> None:
    attempt.python(
        hungry(60, then="for _ in range(4):\n  if os.fork() == 0: time.sleep(3); os._exit(0)\n")
        + "for _ in range(4): os.wait()\n",
        limits={"memory_mb": 150},
    )
    assert ended(attempt)["reason"] == "exited"


def test_cpu_time_of_the_whole_tree_counts_also_of_those_that_ended(attempt: Attempt) -> None:
    spin = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n"
    attempt.python(
        "import subprocess, sys, time\n"
        f"while True: subprocess.run([sys.executable, '-I', '-S', '-c', {spin!r}], start_new_session=True)\n",
        limits={"cpu_seconds": 2},
        grace_seconds=1,
    )
    record = ended(attempt)
    assert record["reason"] == "cpu"
    assert record["rusage"]["utime_seconds"] + record["rusage"]["stime_seconds"] >= 1.9


def test_wall_clock_asks_first_and_leaves_the_grace_period(attempt: Attempt) -> None:
    attempt.shell("trap 'echo saved; exit 0' INT; while :; do sleep 0.02; done", limits={"wall_seconds": 1})
    record = ended(attempt)
    assert (record["reason"], record["stop_reason"], record["code"]) == ("wall clock", "1 s are over", 0)
    assert attempt.lines() == ["saved"]


def test_wall_clock_ends_one_that_heeds_nothing(attempt: Attempt) -> None:
    attempt.shell("trap '' INT TERM; sleep 120", limits={"wall_seconds": 0.3}, grace_seconds=0)
    record = ended(attempt)
    assert (record["reason"], record["signal"]) == ("wall clock", signal.SIGKILL)


@pytest.mark.parametrize("tty", [False, True])
def test_one_that_prints_nothing_any_more_is_stalled(attempt: Attempt, tty: bool) -> None:
    began = time.monotonic()
    attempt.shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done; sleep 120", limits={"idle_seconds": 1}, tty=tty)
    record = ended(attempt)
    assert (record["reason"], record["stop_reason"]) == ("stalled", "no output for 1 s")
    assert time.monotonic() - began > 2.5
    assert "6" in attempt.output()


def test_a_report_is_a_sign_of_life(attempt: Attempt) -> None:
    attempt.shell(
        "for i in 1 2 3 4 5 6; do echo '{}' > $STRATAVORE_REPORT; sleep 0.4; done", limits={"idle_seconds": 1.5}
    )
    assert ended(attempt)["reason"] == "exited"


def test_a_paused_agent_is_not_stalled(attempt: Attempt) -> None:
    attempt.shell("sleep 0.5; echo done", limits={"idle_seconds": 3})
    attempt.client.pause()
    time.sleep(4)
    assert attempt.client.status()["state"] == "paused"
    attempt.client.resume()
    assert ended(attempt)["reason"] == "exited"
    assert "done" in attempt.output()


@pytest.mark.parametrize("tty", [False, True])
def test_a_flood_of_output_is_cut_off_near_the_limit(attempt: Attempt, tty: bool) -> None:
    attempt.shell("exec yes 'a line of output that is repeated for ever'", limits={"output_mb": 5}, tty=tty)
    record = ended(attempt)
    assert (record["reason"], record["stop_reason"]) == ("output", "more than 5 MB")
    sizes = [(attempt.directory / name).stat().st_size for name in ("output.cast", "telemetry.jsonl")]
    # What is in the pipe when it is killed is kept, too.
    assert 5 * MB < max(sizes) < 25 * MB
    assert json.loads((attempt.directory / "telemetry.jsonl").read_text().splitlines()[-1])["kind"] == "exit"


def test_a_flood_of_reports_is_cut_off_too(attempt: Attempt) -> None:
    attempt.python(
        "import os\nout = open(os.environ['STRATAVORE_REPORT'], 'w')\n"
        'while True: out.write(\'{"type": "note", "text": "\' + \'x\' * 900 + \'"}\\n\'); out.flush()',
        limits={"output_mb": 2},
    )
    assert ended(attempt)["reason"] == "output"


def test_too_many_processes_end_all_of_them(attempt: Attempt) -> None:
    attempt.shell("for i in $(seq 30); do setsid sleep 120 & done; echo $i; sleep 120", limits={"processes": 20})
    record = ended(attempt)
    assert (record["reason"], record["signal"]) == ("processes", signal.SIGKILL)
    assert record["stop_reason"].endswith(" of 20")


def test_a_fork_bomb_is_ended(attempt: Attempt) -> None:
    # Each child forks again after a moment, and all end by themselves: a failure must not load the machine for ever.
    attempt.python(
        "import os, time\nend = time.monotonic() + 20\n"
        "while time.monotonic() < end:\n    os.fork()\n    time.sleep(0.15)\n",
        limits={"processes": 16},
    )
    assert ended(attempt)["reason"] == "processes"


def test_open_files_are_held_by_the_kernel_and_no_core_is_dumped(attempt: Attempt) -> None:
    attempt.python(
        "import os, resource\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))\n"
        "files = []\n"
        "try:\n    while True: files.append(os.dup(0))\n"
        "except OSError as error: print(error.strerror)\n",
        rlimits={"nofile": 50, "core": 0},
    )
    assert ended(attempt)["reason"] == "exited"
    assert attempt.lines() == ["(50, 50) (0, 0)", "Too many open files"]


def test_limits_that_are_not_reached_change_nothing(attempt: Attempt) -> None:
    generous = {
        "memory_mb": 4096, "cpu_seconds": 600, "wall_seconds": 600, "idle_seconds": 600, "output_mb": 100,
        "processes": 1000,
    }  # fmt: skip
    attempt.shell("echo one; sleep 1.5; echo two; exit 3", limits=generous)
    record = ended(attempt)
    assert (record["code"], record["reason"]) == (3, "exited")
    assert attempt.telemetry("started")[0]["limits"] == generous


def test_the_first_limit_is_the_reason_and_a_stop_before_it_stays_a_stop(attempt: Attempt) -> None:
    attempt.shell("trap '' INT TERM; echo ready; sleep 120", limits={"wall_seconds": 1}, grace_seconds=1)
    attempt.await_output("ready")
    attempt.stop(30, "enough")
    record = ended(attempt)
    assert (record["reason"], record["stop_reason"]) == ("stopped", "enough")


NESTED = """
import ctypes, os, subprocess, sys, time
# A subreaper of its own, a session of its own, a double fork, and no environment by which it could be known.
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve('/bin/sleep', ['sleep', '120'], {})
    os._exit(0)
print('ready', flush=True)
time.sleep(120)
"""


def test_one_that_hides_below_a_subreaper_of_its_own_counts_and_ends(attempt: Attempt) -> None:
    attempt.python(
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-I', '-S', '-c', {NESTED!r}])\n"
        "time.sleep(120)\n",
        limits={"wall_seconds": 3},
        grace_seconds=0,
    )
    attempt.await_output("ready")

    def hidden() -> list[int]:
        below = identity.descendants(attempt.shim_pid, identity.table())
        # In the middle of an exec a process shows no environment at all.
        bare = [p for p in below if not identity.is_marked(p.pid, str(attempt.runner_id), 1)]
        return [p.pid for p in bare if Path(f"/proc/{p.pid}/comm").read_text() == "sleep\n"]

    (pid,) = wait_for(hidden, "the one without a marker")
    assert ended(attempt)["reason"] == "wall clock"
    assert is_gone(pid)


def test_a_watch_takes_next_to_no_cpu(attempt: Attempt) -> None:
    limits = {"memory_mb": 4096, "cpu_seconds": 600, "processes": 1000, "idle_seconds": 600, "wall_seconds": 600}
    attempt.shell("sleep 120 & sleep 120 & sleep 120 & wait", limits=limits)

    def spent() -> float:
        fields = Path(f"/proc/{attempt.shim_pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = spent()
    time.sleep(5)
    assert spent() - before < 0.25, "under 5 % of a core, on however busy a machine"
