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
from stratavore_site.embedded.rabbitmq import RabbitMQ
from tests.gate import Gate
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

#: Longer than the pool of connections tries, and until the pauses are as long as they get.
LONG_SECONDS = 35.0
#: Of the soak; AWAY_SECONDS makes a shorter try of it.
HOUR_SECONDS = float(os.environ.get("AWAY_SECONDS", "3600"))
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


def through(gate: Gate) -> str:
    """Return the address of the test's database by way of the gate."""
    database = connection.settings_dict
    return f"postgres://{database['USER']}:{database['PASSWORD']}@127.0.0.1:{gate.port}/{database['NAME']}"


@pytest.mark.django_db(transaction=True)
def test_a_node_that_had_no_database_for_long_tells_everything_once_when_it_is_back(
    make_stack: Callable[..., Stack], gate: Gate
) -> None:
    stack = make_stack(DATABASE_URL=through(gate))
    tell_meanwhile(stack, gate.shut, gate.open, seconds=LONG_SECONDS)
    # No herd: what is open at once is bounded, whoever waits.
    assert gate.most <= len(stack.processes) * settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]


@pytest.mark.soak
@pytest.mark.broker
@pytest.mark.django_db(transaction=True)
def test_the_same_after_an_hour_without_database_and_broker(
    make_stack: Callable[..., Stack], gate: Gate, own_rabbitmq: RabbitMQ
) -> None:
    stack = make_stack(DATABASE_URL=through(gate), AMQP_URL=own_rabbitmq.url())

    def leave() -> None:
        own_rabbitmq.stop()
        gate.shut()

    def come_back() -> None:
        gate.open()
        own_rabbitmq.start()

    tell_meanwhile(stack, leave, come_back, seconds=HOUR_SECONDS)
    # What is launched now goes by the same processes, which nobody started again.
    late = launch_runner(make_project().name, LaunchRequest(backend="command", argv=["true"]), actor="user:ada")
    stack.wait_for(late, "terminated")


def tell_meanwhile(stack: Stack, leave: Callable[[], None], come_back: Callable[[], None], *, seconds: float) -> None:
    """Have runners tell an hour's worth while servers are away for so long; expect all of it, once, afterwards."""
    stack.start_runners()
    project = make_project(quota=RUNNERS + 1)
    workspace = Path(project.path)
    (workspace / "agent.py").write_text(AGENT)

    def launch(name: str) -> Runner:
        argv = ["python3", "agent.py", name, str(REPORTS)]
        return launch_runner(project.name, LaunchRequest(backend="command", name=name, argv=argv), actor="user:ada")

    runners = [stack.wait_for(launch(f"agent-{number}"), "running") for number in range(RUNNERS)]

    leave()
    (workspace / "go").touch()
    for runner in runners:
        wait_until((workspace / f"{runner.name}.told").exists, f"{runner.name} has told everything")
    # One ends meanwhile, and one loses its shim: nobody is told of either.
    (workspace / f"{runners[0].name}.end").touch()
    wait_until((stack.run_directory(runners[0]) / "exit.json").exists, "it ended")
    os.kill(json.loads((stack.run_directory(runners[1]) / "shim.json").read_text())["shim"]["pid"], signal.SIGKILL)
    # Not to wait for anything: that it takes so long is what is tried.
    time.sleep(seconds)
    assert all(stack.is_alive(name) for name in ("node agent", "node worker", "worker", "beat"))
    assert UsageEntry.objects.count() == 0
    come_back()

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
