"""Kill everything above the shims at random moments, again and again: no runner, byte or exit is lost.

Seeded, so that a failure can be had again: FAULT_SEED=7 make soak ARGS=tests/runners/test_fault_soak.py
"""

import hashlib
import json
import os
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from runners.exceptions import LaunchRefused, MoveRefused
from runners.models import Attempt, Runner
from runners.services import stop_runner
from runners.states import TERMINAL
from stratavore_site.models import AccessToken
from tests.callers import make_user
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

RUNNERS, LINES, STOPPED_OF_TEN = 50, 400, 3
ABOVE = ("web", "worker", "node worker", "node agent", "beat")

#: Prints numbered lines, then the checksum of all of them; notes that it was started, and whether it came to its end.
AGENT = """
import hashlib, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
name, lines, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
with open(f"{name}.starts", "a") as starts:
    starts.write("started\\n")
digest = hashlib.sha256()
for number in range(lines):
    line = f"{name} {number}\\n"
    digest.update(line.encode())
    sys.stdout.write(line)
    sys.stdout.flush()
    time.sleep(pause)
print("checksum", digest.hexdigest(), flush=True)
"""


@pytest.mark.soak
@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_while_everything_above_the_shims_is_killed_at_random(stack: Stack) -> None:
    chance = random.Random(int(os.environ.get("FAULT_SEED", "1")))
    project = make_project(quota=RUNNERS)
    (Path(project.path) / "agent.py").write_text(AGENT)
    user = make_user("ada", is_superuser=True)
    _, token = AccessToken.objects.create(user=user, name="soak")
    stack.start("web")
    runners: dict[str, Runner] = {}
    asked_to_stop: set[str] = set()
    while len(runners) < RUNNERS:
        name = f"agent-{len(runners)}"
        pause = chance.uniform(0.002, 0.02)
        argv = ["python3", "agent.py", name, str(LINES), str(pause)]
        runners[name] = _launch(stack, token, {"project": project.name, "name": name, "argv": argv})
        if chance.random() < STOPPED_OF_TEN / 10:
            victim = chance.choice(sorted(runners))
            if _stop(runners[victim]):
                asked_to_stop.add(victim)
        if chance.random() < 0.3:
            _disturb(stack, chance)
        time.sleep(chance.uniform(0.0, 0.2))
    _revive(stack)
    wait_until(lambda: not Runner.objects.exclude(status__in=TERMINAL).exists(), "all runners have ended", seconds=300)
    for name, runner in runners.items():
        runner.refresh_from_db()
        _check(stack, Path(project.path), name, runner, stopped=name in asked_to_stop)
    assert _processes_of(runners.values()) == []


def _launch(stack: Stack, token: str, body: dict[str, Any]) -> Runner:
    """Launch by the API as a client would that does not give up: after a lost answer it looks before it asks again."""
    deadline = time.monotonic() + 120
    while not (found := Runner.objects.filter(name=body["name"]).first()):
        assert time.monotonic() < deadline, f"{body['name']} could not be launched"
        if not stack.is_alive("web"):
            stack.start("web")
        try:
            answer = httpx.post(
                f"{stack.url}/api/v1/runners/",
                json={"backend": "command", "on_limit": "wait", **body},
                headers={"Authorization": f"Token {token}"},
                timeout=60,
            )
        except httpx.TransportError:
            continue
        assert answer.status_code == 201, answer.text
    return found


def _stop(runner: Runner) -> bool:
    try:
        stop_runner(runner.pk, actor="user:ada", grace_seconds=1)
    except (MoveRefused, LaunchRefused):
        return False  # it had ended
    return True


def _disturb(stack: Stack, chance: random.Random) -> None:
    """Kill one process, or all of them, and start what is dead again: at once, or only at the next disturbance."""
    victims = ABOVE if chance.random() < 0.2 else (chance.choice(ABOVE),)
    for name in victims:
        if stack.is_alive(name):
            stack.kill(name)
    if chance.random() < 0.7:
        _revive(stack)


def _revive(stack: Stack) -> None:
    dead = [name for name in ABOVE if not stack.is_alive(name)]
    stack.start(*dead)


def _check(stack: Stack, workspace: Path, name: str, runner: Runner, *, stopped: bool) -> None:
    """Hold what is on record of a runner against what it did."""
    state = f"{name}: {runner.status} ({runner.reason})"
    starts = workspace / f"{name}.starts"
    times = len(starts.read_text().splitlines()) if starts.exists() else 0
    assert times <= 1, f"{state} was started {times} times"
    assert Attempt.objects.filter(runner=runner).count() <= 1, state
    if not stopped:
        assert times == 1, f"{state} was never started"
        assert (runner.status, runner.exit_code) == ("terminated", 0), state
    if times == 0:
        return
    assert (stack.run_directory(runner) / "exit.json").exists(), f"{state} has no exit record"
    lines = _output(stack, runner).splitlines()
    printed = [line for line in lines if not line.startswith("checksum")]
    assert printed == [f"{name} {number}" for number in range(len(printed))], f"{state} lost output"
    if not stopped:
        whole = "".join(f"{name} {number}\n" for number in range(LINES))
        assert lines[-1] == f"checksum {hashlib.sha256(whole.encode()).hexdigest()}", state


def _output(stack: Stack, runner: Runner) -> str:
    """Return all output of the runner, as the shim spooled it."""
    _, *events = (stack.run_directory(runner) / "output.cast").read_text().splitlines()
    return "".join(json.loads(event)[2] for event in events).replace("\r\n", "\n")


def _processes_of(runners: Iterable[Runner]) -> list[int]:
    """Return processes that bear the mark of one of these runners: shims and agents that should be gone."""
    marks = {f"STRATAVORE_RUNNER_ID={runner.pk}".encode() for runner in runners}
    found = []
    for process in psutil.process_iter():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if marks.intersection(environment):
            found.append(process.pid)
    return found
