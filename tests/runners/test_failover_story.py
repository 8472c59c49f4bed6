"""Two real nodes: one is frozen with its runner at work, is given up, and comes back."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from django.utils import timezone

from outbox.models import Entry
from runners.backends.base import LaunchRequest
from runners.models import Attempt, Node, Runner, Session
from runners.services import launch_runner
from runners.services.reconcile import reconcile
from runners.shim import rundir
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

#: Reports what it uses, and once it is told to, what it uses besides and a message.
SCRIPT = """
echo '{"type": "usage", "id": "first", "output_tokens": 10}' > $STRATAVORE_REPORT
until [ -e go-$STRATAVORE_GENERATION ]; do sleep 0.1; done
echo '{"type": "usage", "id": "second", "output_tokens": 7}' > $STRATAVORE_REPORT
echo '{"type": "message", "role": "assistant", "text": "said alone"}' > $STRATAVORE_REPORT
sleep 300
"""


class Frozen:
    """The control plane's hands of one node, stopped in their tracks; its runners go on."""

    def __init__(self, stack: Stack) -> None:
        self.processes = [stack.processes[name] for name in ("node agent", "node worker")]

    def __enter__(self) -> None:
        self._send(signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        for process in self.processes:
            os.kill(process.pid, number)


@pytest.fixture
def two_nodes(make_stack: Callable[..., Stack], tmp_path: Path) -> Iterator[dict[str, Stack]]:
    first = make_stack()
    first.start_runners()
    (tmp_path / "second").mkdir()
    second = Stack(tmp_path / "second", {})
    try:
        second.start("node agent", "node worker")
        yield {stack.node: stack for stack in (first, second)}
    finally:
        second.close()


def tokens_of(runner: Runner) -> int:
    return Session.objects.get(runners=runner).output_tokens


def test_a_frozen_node_is_replaced_and_fenced_when_it_returns(two_nodes: dict[str, Stack]) -> None:
    project = make_project()
    request = LaunchRequest(backend="command", argv=["bash", "-c", SCRIPT], restart_policy="on_failure")
    runner = launch_runner(project.name, request, actor="user:ada")
    assert runner.node is not None
    lost = two_nodes[runner.node.name]
    (other,) = (stack for stack in two_nodes.values() if stack is not lost)
    first = lost.wait_for(runner, "running")
    wait_until(lambda: tokens_of(runner) == 10, "the first usage is in the ledger")
    directory = lost.run_directory(first)

    with Frozen(lost):
        (Path(project.path) / "go-1").touch()
        wait_until(lambda: "said alone" in (directory / "telemetry.jsonl").read_text(), "it goes on, unheard")
        Node.objects.filter(name=lost.node).update(last_seen_at=timezone.now() - timedelta(minutes=10))
        reconcile()
        second = other.wait_for(runner, "running")
        assert (second.generation, second.node) == (2, Node.objects.get(name=other.node))
        wait_until(lambda: tokens_of(runner) == 20, "the second attempt's usage is in the ledger")
        assert psutil.pid_exists(first.pid or 0)
        assert psutil.pid_exists(second.pid or 0)

    wait_until(lambda: (directory / "exit.json").exists(), "the old attempt is stopped")
    ended = Attempt.objects.filter(runner=runner, generation=1, exit_signal__isnull=False)
    attempt = wait_until(ended.first, "its end is known")
    record = rundir.read_json(str(directory), rundir.EXIT)
    assert record is not None
    assert (record["reason"], record["stop_reason"]) == ("stopped", "superseded")
    assert not psutil.pid_exists(first.pid or 0)
    assert attempt.fenced_at is not None
    assert attempt.refused_records >= 3
    assert Entry.objects.filter(type="runner.fenced").count() == 1

    runner.refresh_from_db()
    assert (runner.status, runner.generation, runner.pid) == ("running", 2, second.pid)
    assert psutil.pid_exists(second.pid or 0)
    assert tokens_of(runner) == 27, "what was used is counted, once"
    assert not Session.objects.get(runners=runner).messages.exists(), "what it said is refused"
    wait_until(lost.node_is_online, "the node is online again")
