"""The shim alone: how fast one starts, what it weighs, how soon it has recorded an end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

from runners.runtimes import get_runtime
from runners.runtimes.process import ZYGOTE_SOCKET
from runners.runtimes.zygote import start_zygote
from runners.shim import rundir

#: Forks of a small interpreter whose child says one byte and ends: what any zygote could reach here.
BARE_ZYGOTE = """
import os, sys, time
times = int(sys.argv[1])
begun = time.monotonic()
for _ in range(times):
    out, into = os.pipe()
    if not (pid := os.fork()):
        os.write(into, b"+")
        os._exit(0)
    os.close(into)
    os.read(out, 1)
    os.close(out)
    os.waitpid(pid, 0)
print(times / (time.monotonic() - begun))
"""
#: The same with a child that stands as every shim has to, before it says so: init its parent, in a session of its own,
#: with an event loop.
DETACHED_ZYGOTE = """
import asyncio, os, sys, time
async def ready(into):
    os.write(into, b"+")
times = int(sys.argv[1])
begun = time.monotonic()
for _ in range(times):
    out, into = os.pipe()
    if not (between := os.fork()):
        if not os.fork():
            os.setsid()
            asyncio.run(ready(into))
        os._exit(0)
    os.waitpid(between, 0)
    os.close(into)
    os.read(out, 1)
    os.close(out)
print(times / (time.monotonic() - begun))
"""


def bare_forks_per_second(times: int, program: str = BARE_ZYGOTE) -> float:
    """Return how many forks a second a bare zygote does."""
    command = [sys.executable, "-I", "-S", "-c", program, str(times)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def starts_per_second(runs: Path, times: int, *, zygote: bool) -> float:
    """Return how many attempts a second are started one after the other, until the agent runs."""
    runs.mkdir(parents=True, exist_ok=True)
    runtime = get_runtime("process")
    forker = start_zygote(runs / ZYGOTE_SOCKET) if zygote else None
    try:
        begun = time.monotonic()
        for _ in range(times):
            run = runs / f"{uuid.uuid4().hex}.1"
            runtime.start(run, _spec())
        return times / (time.monotonic() - begun)
    finally:
        if forker:
            forker.close()


def pss_mb(pids: list[int]) -> float:
    """Return the mean proportional set size of these processes in MB: shared pages count by their share."""
    sizes = [_pss_kb(pid) for pid in pids]
    return sum(sizes) / len(sizes) / 1000


def shim_pid(run: Path) -> int:
    """Return the pid of an attempt's shim."""
    return int(json.loads((run / rundir.SHIM).read_text())["shim"]["pid"])


def notice_ms(runs: list[Path]) -> list[float]:
    """Kill the agents of these attempts one by one; return the milliseconds from each signal to the shim's notice.

    That is more than from the end of the process, by what the kernel takes to end it.
    """
    return [_notice(run) for run in runs]


def _notice(run: Path) -> float:
    pid = json.loads((run / rundir.SHIM).read_text())["agent"]["pid"]
    pidfd = os.pidfd_open(pid)
    killed = time.time()
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    deadline = time.monotonic() + 30
    while not (run / rundir.EXIT).exists():
        if time.monotonic() > deadline:
            raise SystemExit(f"{run} recorded no end within 30 s.")
        time.sleep(0.005)
    *_, end = (run / rundir.TELEMETRY).read_text().splitlines()
    return float(json.loads(end)["t"] - killed) * 1000


def _pss_kb(pid: int) -> int:
    match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(match[1]) if match else 0


def _spec() -> dict[str, object]:
    return {
        "version": 1,
        "runner_id": str(uuid.uuid4()),
        "generation": 1,
        "argv": ["/bin/true"],
        "env": {"PATH": os.defpath},
        "cwd": "/",
        "tty": False,
        "columns": 120,
        "rows": 32,
        "stdin": "",
        "grace_seconds": 1,
        "nudge": "",
    }
