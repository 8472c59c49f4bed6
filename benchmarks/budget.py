"""How soon a spent budget acts: from the line that spends it to the signal in the agent, alone and with all at once.

Limit beside it, in the same run: a signal from one process to another.
"""

import os
import signal
import statistics
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from benchmarks._fleet import Fleet, fleet, wait_for
from runners.models import Project, Runner
from runners.services import create_project
from runners.services.budgets import create_budget
from runners.states import RunnerStatus

SIGNALS = 50
ONE_BY_ONE, AT_ONCE = 20, 50
#: Waits until it may spend, tells that it used 100 tokens, and writes down how many ms later it is told to end.
SPENDER = """
import os, signal, sys, time
def end(*_):
    with open(sys.argv[1] + ".ms", "w") as out: out.write(str((time.time() - begun) * 1000))
    sys.exit(0)
signal.signal(signal.SIGINT, end)
while not os.path.exists("spend"): time.sleep(0.01)
with open(os.environ["STRATAVORE_REPORT"], "w") as report:
    begun = time.time()
    report.write('{"type":"usage","id":"u","model":"m","output_tokens":100}\\n')
    report.flush()
while True: time.sleep(60)
"""
#: Says that it caught a signal, which is to be timed from here.
CATCHER = """
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"!"))
os.write(1, b".")
while True: signal.pause()
"""


def limits() -> dict[str, float]:
    """Return how long a signal takes without Stratavore."""
    catcher = subprocess.Popen([sys.executable, "-I", "-S", "-c", CATCHER], stdout=subprocess.PIPE)
    assert catcher.stdout is not None
    os.read(catcher.stdout.fileno(), 1)
    waits = []
    for _ in range(SIGNALS):
        begun = time.perf_counter()
        catcher.send_signal(signal.SIGINT)
        os.read(catcher.stdout.fileno(), 1)
        waits.append((time.perf_counter() - begun) * 1000)
    catcher.kill()
    catcher.wait()
    return {"signal_p50_ms": statistics.median(waits)}


def figures() -> dict[str, float]:
    """Return milliseconds, with every process in place."""
    call_command("migrate", interactive=False, verbosity=0)
    with fleet(slots=1_000) as running:
        single = [ms for number in range(ONE_BY_ONE) for ms in _spend(running, f"single-{number}", runners=1)]
        together = _spend(running, "together", runners=AT_ONCE)
    return {**_told("spent_to_signal", single), **_told(f"spent_to_signal_{AT_ONCE}_at_once", together)}


def _spend(running: Fleet, name: str, *, runners: int) -> list[float]:
    """Launch some in a project whose budget the first line of any of them spends; return how soon each is told."""
    workspace = Path(settings.WORKSPACE_ROOTS[0]) / name
    workspace.mkdir(parents=True)
    (workspace / "spender.py").write_text(SPENDER)
    project = create_project(name=name, path=str(workspace), actor="system:bench", max_concurrent_runners=runners)
    create_budget(
        {"name": name, "scope": "project", "scope_key": name, "period": "daily", "unit": "tokens",
         "limit": Decimal(50), "action": "stop"}, actor="system:bench",
    )  # fmt: skip
    for number in range(runners):
        launch = {"project": name, "backend": "command", "argv": ["python3", "spender.py", str(number)]}
        running.api.post("/api/v1/runners/", json=launch).raise_for_status()
    wait_for(lambda: _running(project) == runners, "the runners")
    (workspace / "spend").touch()
    wait_for(lambda: not Runner.objects.filter(project=project).open().exists(), "their ends")
    return [float(path.read_text()) for path in workspace.glob("*.ms")]


def _running(project: Project) -> int:
    return Runner.objects.filter(project=project, status=RunnerStatus.RUNNING).count()


def _told(name: str, waits: list[float]) -> dict[str, float]:
    return {f"{name}_p50_ms": statistics.median(waits), f"{name}_worst_ms": max(waits), f"{name}_runners": len(waits)}
