"""The main job with every process real: launch, run, watch, stop; and what survives a kill."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from outbox.models import Entry
from runners.backends.base import LaunchRequest
from runners.models import Observation, Project, ReconcilerFinding, Runner
from runners.runtimes import runtime_of
from runners.services import launch_runner, pause_runner, resume_runner, stop_runner
from runners.services.launch import launch_runners
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

SLEEP = LaunchRequest(backend="command", argv=["sleep", "300"])


def launch(project: Project, request: LaunchRequest = SLEEP) -> Runner:
    return launch_runner(project.name, request, actor="user:ada")


def shell(script: str) -> LaunchRequest:
    return replace(SLEEP, argv=["bash", "-c", script])


def test_a_command_runs_and_its_end_is_known(stack: Stack) -> None:
    project = make_project()
    good = launch(project, shell("echo hello; echo done > made"))
    bad = launch(project, shell("exit 3"))
    good = stack.wait_for(good, "terminated", "failed")
    bad = stack.wait_for(bad, "terminated", "failed")
    assert (good.status, good.exit_code, good.reason) == ("terminated", 0, "exited")
    assert (bad.status, bad.exit_code, bad.reason) == ("failed", 3, "exit code 3")
    assert good.started_at is not None
    assert good.pid
    assert (Path(project.path) / "made").read_text() == "done\n"
    assert "hello" in (stack.run_directory(good) / "output.cast").read_text()
    events = list(Entry.objects.events().filter(aggregate=good.aggregate).order_by("id").values_list("type", flat=True))
    assert events == ["runner.starting", "session.created", "runner.started", "runner.stopped"]


def test_a_runner_is_paused_resumed_and_stopped_with_all_its_processes(stack: Stack) -> None:
    runner = stack.wait_for(launch(make_project(), shell("sleep 300 & wait")), "running")
    group = [psutil.Process(runner.pid), *psutil.Process(runner.pid).children(recursive=True)]
    pause_runner(runner.pk, actor="user:ada")
    stack.wait_for(runner, "paused")
    assert {process.status() for process in group} == {psutil.STATUS_STOPPED}
    resume_runner(runner.pk, actor="user:ada")
    stack.wait_for(runner, "running")
    stop_runner(runner.pk, actor="user:ada", grace_seconds=1)
    runner = stack.wait_for(runner, "terminated", "failed")
    assert (runner.status, runner.reason) == ("terminated", "stopped by user:ada")
    assert not any(process.is_running() for process in group)


def test_figures_of_the_whole_process_tree_are_written_each_second(stack: Stack) -> None:
    runner = stack.wait_for(launch(make_project(), shell("while :; do :; done & while :; do :; done")), "running")

    def busy() -> bool:
        seen = Observation.objects.get(runner=runner)
        return seen.cpu_percent > 10 and seen.memory_mb > 1 and seen.process_count == 2

    wait_until(busy, "cpu, memory and both processes are seen")
    first = Observation.objects.get(runner=runner).observed_at
    wait_until(lambda: Observation.objects.get(runner=runner).observed_at > first, "the figures are renewed")


def test_many_that_are_launched_together_all_run_and_one_that_cannot_harms_no_other(stack: Stack) -> None:
    project = make_project(quota=30)
    broken = Path(project.path) / "agent.sh"
    broken.write_text("#!/nowhere/at/all\n")
    broken.chmod(0o755)
    requests = [shell(f"echo {number}") for number in range(20)]
    requests[3] = replace(SLEEP, argv=[str(broken)])
    came = launch_runners(project.name, requests, actor="user:ada")
    ended = [stack.wait_for(came.done[number], "terminated", "failed") for number in range(20)]
    assert [number for number, runner in enumerate(ended) if runner.status != "terminated"] == [3]
    assert "exec_failed" in ended[3].reason
    for number, runner in enumerate(ended):
        if number != 3:
            assert f"{number}\\r\\n" in (stack.run_directory(runner) / "output.cast").read_text()
    assert Entry.objects.filter(type="runners.tasks.start_runners").count() == 3


def test_a_program_that_vanished_ends_the_runner_as_failed_with_the_reason(stack: Stack) -> None:
    project = make_project()
    program = Path(project.path) / "agent.sh"
    program.write_text("#!/nowhere/at/all\n")
    program.chmod(0o755)
    runner = stack.wait_for(launch(project, replace(SLEEP, argv=[str(program)])), "failed", "terminated")
    assert runner.status == "failed"
    assert "exec_failed" in runner.reason


def test_a_runner_outlives_worker_and_node_agent_and_its_end_is_recorded(stack: Stack) -> None:
    """SIGKILL to both while it prints; nothing of the output is missing, and the exit is known when they are back."""
    project = make_project()
    script = "for i in $(seq 400); do echo line-$i; sleep 0.01; done; while [ ! -e go ]; do sleep 0.05; done; exit 7"
    runner = stack.wait_for(launch(project, shell(script)), "running")
    for name in ("node worker", "worker", "node agent"):
        os.kill(stack.processes[name].pid, signal.SIGKILL)
        stack.processes[name].wait()
    assert psutil.pid_exists(runner.pid or 0)
    (Path(project.path) / "go").touch()
    wait_until((stack.run_directory(runner) / "exit.json").exists, "the agent ended on its own")
    runner.refresh_from_db()
    assert runner.status == "running"
    stack.start("node agent", "worker")
    runner = stack.wait_for(runner, "failed", "terminated")
    assert (runner.status, runner.exit_code) == ("failed", 7)
    output = (stack.run_directory(runner) / "output.cast").read_text()
    assert all(f"line-{number}\\r\\n" in output for number in range(1, 401))


def test_a_shim_that_was_killed_leaves_a_failed_runner_and_no_agent(stack: Stack) -> None:
    runner = stack.wait_for(launch(make_project()), "running")
    agent = psutil.Process(runner.pid)
    parent = agent.parent()
    assert parent is not None
    parent.kill()
    runner = stack.wait_for(runner, "failed", "terminated")
    assert (runner.status, runner.reason) == ("failed", "lost")
    psutil.wait_procs([agent], timeout=10)
    assert not agent.is_running()


@pytest.mark.parametrize("wait", [False, True])
def test_a_stop_right_after_the_launch_leaves_nothing_running(stack: Stack, wait: bool) -> None:
    runner = launch(make_project(), shell("trap '' INT TERM; sleep 300"))
    if wait:
        wait_until((stack.run_directory(runner) / "shim.json").exists, "the shim is up")
    stop_runner(runner.pk, actor="user:ada", grace_seconds=0)
    runner = stack.wait_for(runner, "terminated", "failed")
    assert runner.status == "terminated"
    marked = [
        p
        for p in psutil.process_iter(["environ"])
        if (p.info["environ"] or {}).get("STRATAVORE_RUNNER_ID") == str(runner.pk)
    ]
    assert not marked


def test_an_end_that_its_shim_had_no_room_to_tell_is_told_by_the_node_agent(stack: Stack) -> None:
    project = make_project()
    runner = stack.wait_for(launch(project, shell("while [ ! -e go ]; do sleep 0.05; done; exit 7")), "running")
    stack.kill("node agent")
    (Path(project.path) / "go").touch()
    directory = stack.run_directory(runner)
    wait_until((directory / "exit.json").exists, "the agent ended on its own")
    # What a full disk leaves: an exit record, whose room was reserved, and telemetry without its last line.
    telemetry = directory / "telemetry.jsonl"
    wait_until(lambda: not runtime_of(directory).is_alive(directory), "the shim is gone")
    *lines, last = telemetry.read_text().splitlines(keepends=True)
    assert '"kind": "exit"' in last
    telemetry.write_text("".join(lines))
    stack.start("node agent")
    runner = stack.wait_for(runner, "failed", "terminated")
    assert (runner.status, runner.exit_code, runner.reason) == ("failed", 7, "exit code 7")
    assert ReconcilerFinding.objects.filter(rule="untold_ends", runner=runner).count() == 1
