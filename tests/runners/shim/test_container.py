"""The container runtime: a real shim around a real container of a real engine."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pytest_django.fixtures import Settings

from runners.runtimes.container import ContainerRuntime, container_name, remove_leftovers
from runners.runtimes.process import ProcessRuntime
from runners.shim import identity, rundir
from tests.podman import IMAGE, Podman
from tests.runners.shim.attempt import Attempt, wait_for
from tests.slow_engine import SlowEngine

pytestmark = pytest.mark.xdist_group("podman")


class ContainerAttempt(Attempt):
    """An attempt in a container."""

    def __init__(self, runs: Path, runtime: ProcessRuntime, podman: Podman) -> None:
        super().__init__(runs, runtime)
        self.podman = podman
        self.workspace = runs.parent / "workspace"
        self.workspace.mkdir(exist_ok=True)

    @property
    def name(self) -> str:
        return container_name(self.directory)

    def spec(self, argv: list[str], **changes: Any) -> dict[str, Any]:
        container = {"image": IMAGE, "network": "none", "user": "", **changes.pop("container", {})}
        spec = super().spec(argv, **changes)
        return {**spec, "cwd": str(self.workspace), "env": {}, "runtime": "container", "container": container}

    def shell(self, script: str, **changes: Any) -> "ContainerAttempt":
        self.start(["sh", "-c", script], **changes)
        return self

    def exit(self, seconds: float = 60.0) -> dict[str, Any]:
        return super().exit(seconds)

    def processes(self) -> list[identity.Process]:
        """Return the processes inside, as this machine sees them."""
        return [
            process
            for process in identity.table().values()
            if process.pid not in (self.agent_pid, self.shim_pid)
            and identity.is_marked(process.pid, str(self.runner_id), 1)
        ]

    def await_text(self, text: str) -> None:
        wait_for(lambda: text in self.output(), f"{text!r} in the output", 60)


@pytest.fixture
def attempt(podman: Podman, tmp_path: Path, zygote_socket: Path, settings: Settings) -> Iterator[ContainerAttempt]:
    settings.CONTAINER_ENGINE = str(podman.socket)
    made = ContainerAttempt(tmp_path / "runs", ContainerRuntime(zygote_socket), podman)
    yield made
    made.end()
    remove_leftovers(tmp_path / "runs")


def test_output_error_and_exit_code_come_through_pipes(attempt: ContainerAttempt) -> None:
    attempt.shell("cat; echo problem >&2; exit 3", stdin="hello\nworld")
    record = attempt.exit()
    assert (record["code"], record["signal"], record["reason"]) == (3, None, "exited")
    assert attempt.lines() == ["hello", "world"]
    assert attempt.lines("stderr") == ["problem"]
    assert attempt.podman.containers() == []


def test_it_has_the_workspace_at_its_path_no_network_no_rights_and_its_owner_as_user(
    attempt: ContainerAttempt,
) -> None:
    os.chown(attempt.workspace, 4711, 4712)
    script = "pwd; id -u; id -g; ls /sys/class/net; cat /proc/self/status; touch made; echo $STRATAVORE_RUNNER_ID"
    attempt.shell(script)
    record = attempt.exit()
    assert record["code"] == 0, record
    lines = attempt.lines()
    assert lines[:4] == [str(attempt.workspace), "4711", "4712", "lo"]
    assert "CapEff:\t0000000000000000" in lines
    assert "CapBnd:\t0000000000000000" in lines
    assert "NoNewPrivs:\t1" in lines
    assert lines[-1] == str(attempt.runner_id)
    assert (attempt.workspace / "made").stat().st_uid == 4711


def test_it_reports_through_the_pipe_it_is_given(attempt: ContainerAttempt) -> None:
    os.chown(attempt.workspace, 4711, 4712)
    attempt.shell("""echo '{"type": "message", "text": "hi"}' > $STRATAVORE_REPORT""")
    attempt.exit()
    assert [record["data"] for record in attempt.telemetry("report")] == [{"type": "message", "text": "hi"}]


def test_a_long_output_is_complete(attempt: ContainerAttempt) -> None:
    attempt.shell("seq 200000")
    attempt.exit()
    assert attempt.lines() == [str(number) for number in range(1, 200_001)]


def test_a_terminal_is_talked_to_and_resized(attempt: ContainerAttempt) -> None:
    # An engine tells a container its size after the start, and not at once.
    await_size = 'while [ "$(stty size)" != "%s" ]; do sleep 0.02; done; echo size-%s;'
    script = await_size % ("32 120", 1) + await_size % ("40 100", 2) + "read line; echo got-$line; exit 5"
    attempt.shell(script, tty=True)
    attempt.await_text("size-1")
    attempt.client.resize(100, 40)
    attempt.await_text("size-2")
    attempt.client.input("hello\n")
    assert attempt.exit()["code"] == 5
    assert "got-hello" in attempt.output()
    assert attempt.output().count("hello\r\n") == 2, "echoed once, by the container's terminal, and said once"


def test_a_stop_lets_it_clean_up_within_its_grace(attempt: ContainerAttempt) -> None:
    attempt.shell("trap 'echo bye; exit 9' INT; echo ready; while :; do sleep 0.1; done")
    attempt.await_text("ready")
    attempt.stop(30, "enough")
    record = attempt.exit()
    assert (record["code"], record["reason"], record["stop_reason"]) == (9, "stopped", "enough")
    assert attempt.lines() == ["ready", "bye"]


def test_one_that_ignores_every_signal_is_killed_after_its_grace(attempt: ContainerAttempt) -> None:
    attempt.shell("trap '' INT TERM HUP; echo ready; sleep 300 & while :; do sleep 0.1; done")
    attempt.await_text("ready")
    assert attempt.processes()
    attempt.stop(0.5, "enough")
    record = attempt.exit()
    assert (record["code"], record["reason"], record["forced"]) == (137, "stopped", True)
    assert attempt.processes() == []
    assert attempt.podman.containers() == []


def test_paused_it_is_frozen_and_resumed_it_goes_on(attempt: ContainerAttempt) -> None:
    attempt.shell("while :; do echo tick >> ticks; sleep 0.02; done")
    ticks = attempt.workspace / "ticks"
    wait_for(lambda: ticks.exists() and ticks.stat().st_size, "ticks", 60)
    attempt.runtime.pause(attempt.directory)
    attempt.runtime.pause(attempt.directory)
    assert attempt.podman.inspect(attempt.name)["State"]["Paused"]
    assert attempt.client.status()["state"] == "paused"
    frozen = ticks.stat().st_size
    # A frozen process has no time to be late: ten of its pauses go by.
    with pytest.raises(AssertionError):
        wait_for(lambda: ticks.stat().st_size > frozen, "a tick", 0.2)
    attempt.runtime.resume(attempt.directory)
    wait_for(lambda: ticks.stat().st_size > frozen, "the next tick", 60)
    assert [record["kind"] for record in attempt.telemetry() if record["kind"] in ("paused", "resumed")] == [
        "paused",
        "resumed",
    ]


def test_a_paused_one_can_be_killed(attempt: ContainerAttempt) -> None:
    attempt.shell("echo ready; sleep 300")
    attempt.await_text("ready")
    attempt.runtime.pause(attempt.directory)
    attempt.runtime.kill(attempt.directory, reason="now")
    assert attempt.exit()["reason"] == "killed"
    assert attempt.podman.containers() == []


def test_more_memory_than_its_limit_ends_it_with_that_reason(attempt: ContainerAttempt) -> None:
    script = "x=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
    attempt.shell(script, container={"memory_mb": 32})
    record = attempt.exit()
    assert (record["code"], record["reason"]) == (137, "memory")


def test_more_processes_than_its_limit_are_refused(attempt: ContainerAttempt) -> None:
    attempt.shell("for i in $(seq 20); do sleep 100 & done; echo all", container={"processes": 10})
    assert attempt.exit()["code"] != 0
    assert "all" not in attempt.lines()
    assert any("fork" in line for line in attempt.lines("stderr"))


def test_the_tighter_of_the_limits_of_launch_and_node_is_the_engines_and_rlimits_are_each_processs(
    attempt: ContainerAttempt,
) -> None:
    attempt.shell(
        "ulimit -n; sleep 300",
        limits={"memory_mb": 64, "processes": 50},
        rlimits={"nofile": 300},
        container={"memory_mb": 256, "processes": 20},
    )
    wait_for(lambda: attempt.lines() or rundir.has(str(attempt.directory), rundir.EXIT), "its open files", 60)
    assert not rundir.has(str(attempt.directory), rundir.EXIT), attempt.exit()
    assert attempt.lines() == ["300"]
    host = attempt.podman.inspect(attempt.name)["HostConfig"]
    assert (host["Memory"], host["PidsLimit"]) == (64 << 20, 20)


def test_a_program_that_the_image_has_not_is_told(attempt: ContainerAttempt) -> None:
    attempt.start(["no-such-program"])
    # The container begins with the engine's init, which says what it did not find.
    assert attempt.exit()["code"] not in (0, None)
    assert any("No such file" in line for line in attempt.lines("stderr"))
    assert attempt.podman.containers() == []


def test_what_the_engine_cannot_do_is_told_in_its_words(attempt: ContainerAttempt) -> None:
    # One that may not be given: the engine finds out when it prepares the container for the attachment.
    attempt.shell("true", rlimits={"rtprio": 99})
    record = attempt.exit()
    assert record["code"] == 125
    assert "container_failed" in record["reason"]
    assert "rlimit" in record["reason"]
    assert attempt.podman.containers() == []


def test_an_image_that_is_not_there_is_told(attempt: ContainerAttempt) -> None:
    attempt.shell("true", container={"image": "localhost/nowhere:1"})
    assert attempt.exit()["reason"] == (
        "container_failed: The image localhost/nowhere:1 is not on this node: pull it there first."
    )


@pytest.mark.parametrize("engine", ["none", "/nowhere/engine.sock"])
def test_without_an_engine_it_ends_with_a_sentence(attempt: ContainerAttempt, settings: Settings, engine: str) -> None:
    settings.CONTAINER_ENGINE = engine
    attempt.shell("true")
    assert attempt.exit()["reason"] in (
        "container_failed: There is no container engine on this node: start Podman's or Docker's API service.",
        "container_failed: No container engine answers at /nowhere/engine.sock.",
    )


def test_a_workspace_that_holds_the_engines_socket_is_refused(attempt: ContainerAttempt, podman: Podman) -> None:
    attempt.workspace = podman.directory
    attempt.shell("true")
    assert "the agent would have the whole machine" in attempt.exit()["reason"]


def test_a_second_start_makes_no_second_container(attempt: ContainerAttempt) -> None:
    attempt.shell("echo ready; sleep 300")
    attempt.await_text("ready")
    attempt.shell("echo another")
    assert attempt.podman.containers() == [attempt.name]
    attempt.stop(0)
    attempt.exit()
    attempt.shell("echo another")
    assert attempt.podman.containers() == []
    assert "another" not in attempt.output()


def test_a_start_goes_on_where_one_that_died_had_made_the_container(attempt: ContainerAttempt) -> None:
    options = ["--name", attempt.name, "--network=none"]
    attempt.podman.run("create", *options, IMAGE, "echo", "taken")
    attempt.shell("echo not-taken")
    assert attempt.exit()["code"] == 0
    assert attempt.lines() == ["taken"]


def test_a_shim_that_was_killed_leaves_no_container(attempt: ContainerAttempt) -> None:
    attempt.shell("trap '' INT TERM HUP; echo ready; while :; do sleep 0.1; done")
    attempt.await_text("ready")
    os.kill(attempt.shim_pid, signal.SIGKILL)
    wait_for(lambda: not attempt.runtime.is_alive(attempt.directory), "the shim's end")
    assert attempt.runtime.record_lost(attempt.directory)
    assert attempt.exit()["reason"] == "lost"
    assert attempt.processes() == []
    assert attempt.podman.containers() == []


def test_an_attachment_that_was_killed_takes_the_container_with_it(attempt: ContainerAttempt) -> None:
    attempt.shell("trap '' INT TERM HUP; echo ready; while :; do sleep 0.1; done")
    attempt.await_text("ready")
    os.kill(attempt.agent_pid, signal.SIGKILL)
    record = attempt.exit()
    assert (record["code"], record["reason"]) == (None, "lost")
    assert attempt.processes() == []
    wait_for(lambda: remove_leftovers(attempt.directory.parent) or not attempt.podman.containers(), "its removal")
    assert attempt.podman.containers() == []


def test_containers_of_attempts_that_are_over_are_removed_and_no_others(attempt: ContainerAttempt) -> None:
    attempt.shell("echo ready; sleep 300")
    attempt.await_text("ready")
    runs = attempt.directory.parent
    for runner, place in (("a" * 32, runs), ("b" * 32, runs.parent / "elsewhere")):
        labels = {"stratavore.runner": runner, "stratavore.generation": "1", "stratavore.runs": str(place)}
        words = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
        attempt.podman.run("create", "--name", runner, *words, IMAGE, "true")
    assert remove_leftovers(runs) == [(UUID("a" * 32), 1)]
    assert sorted(attempt.podman.containers()) == sorted(["b" * 32, attempt.name])
    attempt.podman.run("rm", "b" * 32)


def test_it_outlives_the_engines_service(attempt: ContainerAttempt) -> None:
    attempt.shell("echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; exit 4")
    attempt.await_text("one")
    attempt.podman.kill()
    attempt.podman.serve()
    wait_for(lambda: "Attached anew" in attempt.log(), "the attachment is back", 60)
    (attempt.workspace / "go").touch()
    assert attempt.exit()["code"] == 4
    assert attempt.lines() == ["one", "two"]


def test_an_engine_that_is_slow_to_note_the_end_does_not_forget_the_exit_code(
    attempt: ContainerAttempt, tmp_path: Path, settings: Settings
) -> None:
    # Its stream has ended, and for three looks it is still called running.
    engine = SlowEngine(attempt.podman.socket, tmp_path / "slow.sock", stale_looks=3)
    settings.CONTAINER_ENGINE = str(engine.path)
    attempt.shell("while [ ! -e go ]; do sleep 0.05; done; echo problem; exit 7")
    wait_for(lambda: rundir.has(str(attempt.directory), rundir.CONTAINER), "the attachment has seen it run", 60)
    (attempt.workspace / "go").touch()
    record = attempt.exit()
    assert (record["code"], record["reason"]) == (7, "exited")
    assert engine.told_all
    assert attempt.lines() == ["problem"]
    assert "Attached anew" not in attempt.log()
    engine.close()


def test_an_engine_that_denies_a_start_is_asked_whether_it_began(
    attempt: ContainerAttempt, tmp_path: Path, settings: Settings
) -> None:
    """Podman says so of a program that ended while it looked at its process; its output and its code are there."""
    engine = SlowEngine(attempt.podman.socket, tmp_path / "denying.sock", denies_starts=True)
    settings.CONTAINER_ENGINE = str(engine.path)
    attempt.shell("echo done; exit 3")
    record = attempt.exit()
    assert (record["code"], record["reason"]) == (3, "exited")
    assert attempt.lines() == ["done"]
    engine.close()


def test_its_first_process_is_known_so_that_it_can_be_measured(attempt: ContainerAttempt) -> None:
    attempt.shell("echo ready; sleep 300")
    attempt.await_text("ready")
    seen = json.loads((attempt.directory / rundir.CONTAINER).read_text())
    assert identity.is_alive(seen["boot_id"], seen["pid"], seen["start_ticks"])
    assert seen["pid"] in [process.pid for process in attempt.processes()]
