"""A node without its database for longer than anybody waits, with as much to tell as an hour brings; and its return."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import Sum

from runners.backends.base import LaunchRequest
from runners.models import Runner, UsageEntry
from runners.services import launch_runner
from tests.gate import Gate
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

RUNNERS = 6
#: One report and ten lines in ten seconds, for an hour.
REPORTS = 360
#: Waits for the file `go`, tells an hour's worth at once, notes that it did, and ends when it may.
AGENT = """
import json, os, sys, time
from pathlib import Path
name, reports = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
while not Path("go").exists(): time.sleep(0.05)
with open(os.environ["STRATAVORE_REPORT"], "w") as out:
    for number in range(reports):
        for line in range(10): print(name, number, line)
        sys.stdout.flush()
        report = {"type": "usage", "id": number, "model": "m", "input_tokens": 1, "output_tokens": 2}
        out.write(json.dumps(report) + "\\n"); out.flush()
Path(f"{name}.told").touch()
while not Path(f"{name}.end").exists(): time.sleep(0.05)
sys.exit(3)
"""


@pytest.fixture
def gate() -> Iterator[Gate]:
    database = connection.settings_dict
    made = Gate(str(database["HOST"]), int(database["PORT"]))
    yield made
    made.shut()


@pytest.mark.django_db(transaction=True)
def test_a_node_that_had_no_database_for_long_tells_everything_once_when_it_is_back(
    make_stack: Callable[..., Stack], gate: Gate
) -> None:
    database = connection.settings_dict
    place = f"127.0.0.1:{gate.port}/{database['NAME']}"
    stack = make_stack(DATABASE_URL=f"postgres://{database['USER']}:{database['PASSWORD']}@{place}")
    stack.start_runners()
    project = make_project(quota=RUNNERS + 1)
    workspace = Path(project.path)
    (workspace / "agent.py").write_text(AGENT)

    def launch(name: str) -> Runner:
        argv = ["python3", "agent.py", name, str(REPORTS)]
        return launch_runner(project.name, LaunchRequest(backend="command", name=name, argv=argv), actor="user:ada")

    runners = [stack.wait_for(launch(f"agent-{number}"), "running") for number in range(RUNNERS)]

    gate.shut()
    (workspace / "go").touch()
    for runner in runners:
        wait_until((workspace / f"{runner.name}.told").exists, f"{runner.name} has told everything")
    # One ends meanwhile, and one loses its shim: nobody is told of either.
    (workspace / f"{runners[0].name}.end").touch()
    wait_until((stack.run_directory(runners[0]) / "exit.json").exists, "it ended")
    os.kill(json.loads((stack.run_directory(runners[1]) / "shim.json").read_text())["shim"]["pid"], signal.SIGKILL)
    # Longer than the pool of connections tries, and until the pauses are as long as they get.
    time.sleep(35)
    assert all(stack.is_alive(name) for name in ("node agent", "node worker", "worker"))
    assert UsageEntry.objects.count() == 0
    gate.open()

    stack.wait_for(runners[0], "failed")
    stack.wait_for(runners[1], "failed")
    told = {"input_tokens": RUNNERS * REPORTS, "output_tokens": 2 * RUNNERS * REPORTS}

    def ledger() -> dict[str, int]:
        return UsageEntry.objects.aggregate(input_tokens=Sum("input_tokens"), output_tokens=Sum("output_tokens"))

    wait_until(lambda: ledger() == told, "all that was used is in the ledger, once")
    for runner in runners[2:]:
        stack.wait_for(runner, "running")
        (workspace / f"{runner.name}.end").touch()
    for runner in runners:
        runner = stack.wait_for(runner, "failed")
        expected = (None, "lost") if runner == runners[1] else (3, "exit code 3")
        assert (runner.exit_code, runner.reason) == expected
        _, *events = (stack.run_directory(runner) / "output.cast").read_text().splitlines()
        printed = "".join(json.loads(event)[2] for event in events).split("\r\n")
        assert printed[1:-1] == [f"{runner.name} {number} {line}" for number in range(REPORTS) for line in range(10)]
    assert ledger() == told
    # No herd: what is open at once is bounded, whoever waits.
    assert gate.most <= len(stack.processes) * settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]
