"""A program for a machine of its own: shims with limits in a delegated control group; prints what became of each.

argv is USER_ID PROJECT. As root it lays out /sys/fs/cgroup as systemd does with Delegate= and DelegateSubgroup=node,
and goes on as that user. The standard library alone.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

UNIT = "/sys/fs/cgroup/system.slice/stratavore-node-agent.service"
CONTROLLERS = ("memory", "pids", "cpu")
DELEGATED = ("", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control", "/node", "/node/cgroup.procs")
PYTHON = [sys.executable, "-I", "-S", "-c"]
SHIM = "import sys; sys.path.insert(0, sys.argv[2]); from runners.shim.main import main; main()"
SECONDS = 90

#: Four of these are over a limit of 100 MB, none of them alone.
EATER = "held = bytearray(40 << 20); held[::4096] = b'x' * len(held[::4096]); import time; time.sleep(60)"
EATERS = (
    "import subprocess, sys, time\n"
    f"for _ in range(4): subprocess.Popen([sys.executable, '-I', '-S', '-c', {EATER!r}], start_new_session=True)\n"
    "time.sleep(60)\n"
)
#: By itself it ends after 30 s.
BOMB = (
    "import os, time\nend = time.monotonic() + 30\n"
    "while time.monotonic() < end:\n    try: os.fork()\n    except OSError: pass\n"
)
#: Nobody waits for the children, so that only their group knows what they used.
SPINNER = (
    "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    "while True:\n    if os.fork() == 0:\n        end = time.process_time() + 0.3\n"
    "        while time.process_time() < end: pass\n        os._exit(0)\n    time.sleep(0.4)\n"
)
FILE = "head -c 200000000 /dev/zero > /tmp/big.$$; cat /tmp/big.$$ > /dev/null; rm /tmp/big.$$; echo whole"


def main() -> None:
    """Run all, and print one line of JSON after the word RESULT."""
    user, project = int(sys.argv[1]), sys.argv[2]
    sys.path.insert(0, project)
    delegate(user)
    from runners.shim import group

    runs = f"/tmp/runs-{user}"
    Path(runs).mkdir()
    seen: dict[str, object] = {"means": group.means("")}
    stories = {
        "eaters": ([*PYTHON, EATERS], {"memory_mb": 100}),
        "cache": (["sh", "-c", FILE], {"memory_mb": 400}),
        "bomb": ([*PYTHON, BOMB], {"processes": 4}),
        "spinner": ([*PYTHON, SPINNER], {"cpu_seconds": 2}),
        "calm": (["sh", "-c", "cat /proc/self/cgroup; exit 3"], {"memory_mb": 200, "processes": 20}),
    }
    for number, (name, (argv, limits)) in enumerate(stories.items()):
        seen[name] = run(f"{runs}/{number:032x}.1", project, argv, limits)
    seen["left"] = [entry.name for entry in os.scandir(UNIT) if entry.is_dir()]
    # Read by whoever started the machine.
    sys.stdout.write(f"RESULT {json.dumps(seen)}\n")
    sys.stdout.flush()


def delegate(user: int) -> None:
    """Lay out the groups, put this process where a service's is, and become the user."""
    Path(UNIT, "node").mkdir(parents=True, exist_ok=True)
    for group in ("/sys/fs/cgroup", "/sys/fs/cgroup/system.slice"):
        Path(group, "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in CONTROLLERS))
    Path(UNIT, "node", "cgroup.procs").write_text(str(os.getpid()))
    if user:
        for name in DELEGATED:
            os.chown(UNIT + name, user, user)
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    else:
        os.setxattr(UNIT, "trusted.delegate", b"1")


def run(directory: str, project: str, argv: list[str], limits: dict[str, int]) -> dict[str, object]:
    """Run one agent below a shim to its end, and return its exit record and lines."""
    from runners.shim import rundir

    Path(directory).mkdir(0o700)
    spec: dict[str, object] = {
        "runner_id": directory, "generation": 1, "argv": argv, "env": {"PATH": "/usr/bin:/bin"}, "cwd": "/tmp",
        "tty": False, "stdin": "", "grace_seconds": 1, "nudge": "", "limits": limits,
    }  # fmt: skip
    rundir.write_json(directory, rundir.SPEC, spec)
    subprocess.run([*PYTHON, SHIM, directory, project], check=True)
    deadline = time.monotonic() + SECONDS
    while not rundir.has(directory, rundir.EXIT) and time.monotonic() < deadline:
        time.sleep(0.05)
    records = [json.loads(line) for line in Path(directory, rundir.TELEMETRY).read_text().splitlines()]
    record = rundir.read_json(directory, rundir.EXIT) or {"reason": "it did not end"}
    return {**record, "lines": [each["text"] for each in records if each["kind"] == "line"][:3]}


main()
