"""A runner in a container, with every process real: launched, watched, steered, and ended whatever dies."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from runners.backends.base import LaunchRequest
from runners.exceptions import EngineNotFound, InvalidRequest
from runners.models import Approval, Node, Observation, Project, ReconcilerFinding, Runner
from runners.runtimes.engine import GENERATION_LABEL, RUNNER_LABEL, RUNS_LABEL
from runners.services import launch_runner, pause_runner, restart_runner, resume_runner, stop_runner
from runners.services.approvals import Decision, decide_approval
from runners.shim import rundir
from tests.podman import IMAGE, Podman
from tests.runners.factories import make_node, make_project
from tests.stack import Stack, wait_until

pytestmark = pytest.mark.xdist_group("podman")

SHELL = LaunchRequest(backend="command", argv=["sh"], runtime="container", image=IMAGE)


def shell(script: str) -> LaunchRequest:
    return replace(SHELL, argv=["sh", "-c", script])


def launch(project: Project, request: LaunchRequest = SHELL) -> Runner:
    return launch_runner(project.name, request, actor="user:ada")


def shim_pid(stack: Stack, runner: Runner) -> int:
    found: Any = rundir.read_json(str(stack.run_directory(runner)), rundir.SHIM)
    return int(found["shim"]["pid"])


def labels_of(stack: Stack, runner: Runner) -> list[str]:
    labels = {RUNNER_LABEL: runner.pk.hex, GENERATION_LABEL: "1", RUNS_LABEL: str(stack.runs)}
    return [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]


@pytest.fixture
def allowed(settings: Settings) -> None:
    settings.CONTAINER_IMAGES = [IMAGE]


@pytest.fixture
def stack(allowed: None, make_stack: Callable[..., Stack], podman: Podman) -> Stack:
    made = make_stack(
        STRATAVORE_CONTAINER_ENGINE=f"unix://{podman.socket}",
        STRATAVORE_CONTAINER_IMAGES=IMAGE,
        STRATAVORE_CONTAINER_MEMORY_MB="48",
    )
    made.start_runners()
    wait_until(lambda: Node.objects.get(name=made.node).engine, "the node reports its engine")
    return made


def test_a_runner_lives_and_ends_in_a_container(stack: Stack, podman: Podman) -> None:
    """One stack for the whole story: it takes longer to start than all of this."""
    assert Node.objects.get(name=stack.node).engine["name"] == "podman"
    project = make_project()

    good = launch(project, shell("echo hello; ls /sys/class/net; echo done > made"))
    bad = launch(project, shell("exit 3"))
    good = stack.wait_for(good, "terminated", "failed")
    bad = stack.wait_for(bad, "terminated", "failed")
    assert (good.status, good.exit_code, good.reason) == ("terminated", 0, "exited")
    assert (bad.status, bad.exit_code, bad.reason) == ("failed", 3, "exit code 3")
    assert (Path(project.path) / "made").read_text() == "done\n"
    output = (stack.run_directory(good) / "output.cast").read_text()
    assert "hello" in output
    assert "lo" in output
    assert "eth0" not in output

    greedy = launch(project, shell("x=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; while :; do x=$x$x; done"))
    greedy = stack.wait_for(greedy, "terminated", "failed")
    assert (greedy.status, greedy.exit_code, greedy.reason) == ("failed", 137, "memory")

    busy = stack.wait_for(launch(project, shell("sleep 300 & while :; do :; done")), "running")

    def is_seen() -> bool:
        seen = Observation.objects.get(runner=busy)
        return seen.cpu_percent > 10 and seen.memory_mb > 0 and seen.process_count >= 2

    wait_until(is_seen, "cpu, memory and processes of the container are seen")
    pause_runner(busy.pk, actor="user:ada")
    stack.wait_for(busy, "paused")
    wait_until(lambda: Observation.objects.get(runner=busy).cpu_percent == 0, "frozen, it uses no CPU")
    resume_runner(busy.pk, actor="user:ada")
    stack.wait_for(busy, "running")
    stop_runner(busy.pk, actor="user:ada", grace_seconds=1)
    busy = stack.wait_for(busy, "terminated", "failed")
    assert (busy.status, busy.reason) == ("terminated", "stopped by user:ada")
    wait_until(lambda: not podman.containers(), "no container is left")

    stubborn = stack.wait_for(launch(project, shell("trap '' INT TERM HUP; while :; do sleep 0.1; done")), "running")
    os.kill(shim_pid(stack, stubborn), signal.SIGKILL)
    stubborn = stack.wait_for(stubborn, "failed", "terminated")
    assert (stubborn.status, stubborn.reason) == ("failed", "lost")
    wait_until(lambda: not podman.containers(), "no container is left")

    podman.run("create", "--name", "left", *labels_of(stack, good), IMAGE, "true")
    wait_until(lambda: not podman.containers(), "the node agent found and removed it")
    wait_until(lambda: ReconcilerFinding.objects.filter(rule="left_containers", runner=good).exists(), "it said so")

    again = restart_runner(bad.pk, actor="user:ada")
    again = stack.wait_for(again, "failed", "terminated")
    assert (again.generation, again.exit_code) == (2, 3)


def test_a_container_outlives_node_agent_and_worker_and_its_end_is_recorded(stack: Stack, podman: Podman) -> None:
    project = make_project()
    runner = stack.wait_for(launch(project, shell("while [ ! -e go ]; do sleep 0.05; done; exit 6")), "running")
    stack.kill("node agent")
    stack.kill("node worker")
    (Path(project.path) / "go").touch()
    wait_until((stack.run_directory(runner) / "exit.json").exists, "it ended on its own")
    stack.start("node agent")
    runner = stack.wait_for(runner, "failed", "terminated")
    assert (runner.status, runner.exit_code) == ("failed", 6)


def test_a_program_in_a_container_asks_and_is_answered(stack: Stack, podman: Podman) -> None:
    """The answer goes through shim, attachment and engine into the input of the program."""
    project = make_project()
    asks = LaunchRequest(
        backend="claude_code", prompt="Make it", runtime="container", image=IMAGE, approvals="ask", name="oak"
    )
    runner = launch(project, asks)
    question = wait_until(lambda: Approval.objects.filter(runner=runner, state="waiting").first(), "it asks")
    assert question.wants == "Bash: touch made"
    assert not (Path(project.path) / "answer").exists()
    decide_approval(question.pk, Decision(allow=True), actor="user:ada")
    runner = stack.wait_for(runner, "terminated", "failed")
    assert (runner.status, runner.reason) == ("terminated", "exited")
    answer = json.loads((Path(project.path) / "answer").read_text())["response"]
    assert (answer["request_id"], answer["response"]["behavior"]) == ("q1", "allow")
    question.refresh_from_db()
    assert question.delivered_at is not None


@pytest.mark.usefixtures("allowed")
@pytest.mark.django_db(transaction=True)
class TestRefusals:
    def test_where_no_node_has_an_engine_it_is_refused_with_a_sentence(self) -> None:
        node = make_node()
        with pytest.raises(EngineNotFound, match=f"There is no container engine on {node.name}."):
            launch(make_project(), replace(SHELL, on_limit="wait"))

    def test_only_nodes_with_an_engine_get_containers(self) -> None:
        make_node(slots=1000)
        fitting = make_node(slots=1, engine={"name": "podman", "version": "4.3.1", "rootless": "no"})
        assert launch(make_project()).node == fitting

    @pytest.mark.parametrize(
        ("changes", "field", "sentence"),
        [
            ({"image": ""}, "image", "needs an image"),
            ({"image": "docker.io/evil:1"}, "image", "is not allowed"),
            ({"network": "host"}, "network", "is not allowed"),
            ({"network": "container:other"}, "network", "is not allowed"),
            ({"container_user": "0"}, "container_user", "is not allowed"),
            ({"container_user": "root"}, "container_user", "is a number"),
            ({"runtime": "process"}, "image", "is for the runtime container"),
            ({"runtime": "virtual"}, "runtime", "There is no runtime"),
            ({"backend": "demo"}, "runtime", "runs on the node itself"),
        ],
    )
    def test_what_may_not_be_is_refused_at_its_field(self, changes: dict[str, Any], field: str, sentence: str) -> None:
        make_node(engine={"name": "podman", "version": "4.3.1", "rootless": "no"})
        with pytest.raises(InvalidRequest, match=sentence) as refusal:
            launch(make_project(), replace(SHELL, **changes))
        assert refusal.value.facts["field"] == field

    def test_without_allowed_images_nothing_runs_in_a_container(self, settings: Settings) -> None:
        settings.CONTAINER_IMAGES = []
        with pytest.raises(InvalidRequest, match="STRATAVORE_CONTAINER_IMAGES"):
            launch(make_project())

    def test_a_network_that_is_allowed_may_be_asked_for_but_never_the_hosts(self, settings: Settings) -> None:
        settings.CONTAINER_NETWORKS = ["agents", "host"]
        make_node(engine={"name": "podman", "version": "4.3.1", "rootless": "no"})
        assert launch(make_project(), replace(SHELL, network="agents")).network == "agents"
        with pytest.raises(InvalidRequest):
            launch(make_project(), replace(SHELL, network="host"))


def test_limits_hold_in_a_container(stack: Stack) -> None:
    project = make_project()
    spinning = replace(shell("while :; do :; done"), limits={"cpu_seconds": 2}, grace_seconds=0)
    silent = replace(shell("sleep 300"), limits={"idle_seconds": 2, "open_files": 64}, grace_seconds=0)
    greedy = replace(shell("x=0123456789abcdef; while :; do x=$x$x; done"), limits={"memory_mb": 64})
    launched = [launch(project, request) for request in (spinning, silent, greedy)]
    ended = [stack.wait_for(runner, "terminated", "failed") for runner in launched]
    assert [runner.status for runner in ended] == ["failed"] * 3
    assert [runner.reason.partition(":")[0] for runner in ended] == ["cpu", "stalled", "memory"]
    assert ended[1].limits_in_force == {"idle_seconds": 2, "open_files": 64}
