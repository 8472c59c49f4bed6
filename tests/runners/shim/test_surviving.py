"""Who starts a shim may die, who starts it twice gets one, and who finds one dead records it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runners.runtimes.process import ProcessRuntime
from runners.runtimes.remains import Remains
from runners.runtimes.shim_client import ShimGone
from runners.runtimes.zygote import shim_command, start_zygote
from runners.shim import identity, rundir
from tests.runners.shim.attempt import Attempt, wait_for

STARTER = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
import django
from django.conf import settings
settings.configure()
from runners.runtimes.process import ProcessRuntime
ProcessRuntime(Path({zygote!r})).start(Path({directory!r}), json.loads({spec!r}))
print("started", flush=True)
time.sleep(60)
"""
ROOT = Path(__file__).resolve().parents[3]


def starter(attempt: Attempt, argv: list[str]) -> subprocess.Popen[str]:
    """Another process, a worker as it were, that starts the attempt."""
    code = STARTER.format(
        root=str(ROOT),
        zygote=str(attempt.runtime.zygote_socket),
        directory=str(attempt.directory),
        spec=json.dumps(attempt.spec(argv)),
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_killing_the_worker_and_its_whole_group_touches_nothing(attempt_either_way: Attempt) -> None:
    attempt = attempt_either_way
    argv = ["/bin/sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done; echo end"]
    with starter(attempt, argv) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == "started\n"
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        assert children == [], "the worker keeps no child, dead or alive"
        os.killpg(worker.pid, signal.SIGKILL)

    record = attempt.exit()

    assert record["reason"] == "exited"
    assert attempt.output() == "1\n2\n3\n4\n5\n6\nend\n"


def test_a_shim_has_a_session_and_a_parent_of_its_own(attempt_either_way: Attempt) -> None:
    attempt = attempt_either_way.start(["sleep", "60"])

    shim = identity.look(attempt.shim_pid)
    assert shim is not None
    assert shim.session == shim.group == shim.pid
    ancestors = []
    pid = shim.parent
    while pid > 1 and (process := identity.look(pid)):
        ancestors.append(pid)
        pid = process.parent
    assert os.getpid() not in ancestors


def test_of_eight_starts_at_once_exactly_one_agent_runs(new_attempt: Callable[..., Attempt], tmp_path: Path) -> None:
    for number, zygote in enumerate((None, tmp_path / "nobody.sock")):
        attempt = new_attempt(ProcessRuntime(zygote) if zygote else None)
        marks = tmp_path / f"marks{number}"
        with ThreadPoolExecutor(8) as starters:
            starts = [starters.submit(attempt.shell, f"echo $$ >> {marks}; exec sleep 60") for _ in range(8)]
        for start in starts:
            start.result()

        wait_for(marks.exists, "the agent's mark")
        time.sleep(0.1)  # a second agent would have had this time to show itself
        assert marks.read_text().split() == [str(attempt.agent_pid)]
        assert len(attempt.telemetry("started")) == 1


def test_starting_again_is_quiet_while_it_runs_and_after_it_ended(attempt: Attempt) -> None:
    attempt.start(["sleep", "60"])
    pid = attempt.agent_pid
    attempt.start(["sleep", "60"])
    assert attempt.agent_pid == pid
    attempt.stop(1)
    record = attempt.exit()

    attempt.start(["sleep", "60"])

    assert attempt.exit() == record
    assert attempt.agent_pid == pid


def test_asking_whether_it_lives_never_spoils_a_start(new_attempt: Callable[..., Attempt]) -> None:
    attempt = new_attempt()
    rundir.create(str(attempt.directory))
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            attempt.runtime.is_alive(attempt.directory)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        attempt.start(["sleep", "60"])
        assert attempt.agent_is_alive
    finally:
        done.set()
        thread.join()


def test_an_attempt_stopped_before_its_start_never_starts(attempt: Attempt, tmp_path: Path) -> None:
    attempt.stop(10, "cancelled")

    attempt.shell(f"touch {tmp_path}/ran")

    record = attempt.exit()
    assert (record["reason"], record["stop_reason"]) == ("never_started", "cancelled")
    assert [entry["kind"] for entry in attempt.telemetry()] == ["exit"]
    assert not attempt.runtime.is_alive(attempt.directory)
    assert not (tmp_path / "ran").exists()


def test_a_stop_after_the_end_changes_nothing(attempt: Attempt) -> None:
    record = attempt.start(["true"]).exit()

    attempt.stop(5)

    assert attempt.exit() == record
    assert len(attempt.telemetry("exit")) == 1


def lose_the_shim(attempt: Attempt) -> None:
    """End the shim the way nothing of it can answer for, while its agent goes on."""
    os.kill(attempt.shim_pid, signal.SIGKILL)
    wait_for(lambda: not attempt.runtime.is_alive(attempt.directory), "the shim's end")


#: Ignores the hang-up of the terminal and the closed pipes that follow the shim's death, and leaves a daemon.
SURVIVOR = "trap '' HUP INT TERM PIPE; setsid sleep 60 & echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("verb", ["stop", "record_lost", "start"])
def test_what_a_dead_shim_left_is_ended_and_recorded_as_lost(attempt: Attempt, verb: str) -> None:
    attempt.shell(SURVIVOR, tty=True).await_output("ready")
    lose_the_shim(attempt)
    with (
        (attempt.directory / "output.cast").open("ab") as cast,
        (attempt.directory / "telemetry.jsonl").open("ab") as told,
    ):
        cast.write(b'[1.0, "o", "torn')
        told.write(b'{"t": 1.0, "ki')
    assert attempt.agent_is_alive

    if verb == "stop":
        attempt.stop(1)
    elif verb == "record_lost":
        assert attempt.runtime.record_lost(attempt.directory)
        assert not attempt.runtime.record_lost(attempt.directory)
    else:
        attempt.start(["true"])

    assert attempt.exit()["reason"] == "lost"
    assert [entry["kind"] for entry in attempt.telemetry()] == ["started", "exit"]
    assert attempt.output() == "ready\r\n"
    assert not [p for p in identity.table().values() if identity.is_marked(p.pid, str(attempt.runner_id), 1)]


def test_a_living_attempt_is_not_recorded_as_lost(attempt: Attempt) -> None:
    attempt.start(["sleep", "60"])

    assert not attempt.runtime.record_lost(attempt.directory)
    assert not attempt.runtime.record_lost(attempt.directory.with_name("nothing.1"))
    assert attempt.agent_is_alive


def test_a_directory_that_is_only_being_prepared_is_not_lost(attempt: Attempt) -> None:
    rundir.create(str(attempt.directory))

    assert not attempt.runtime.record_lost(attempt.directory)

    assert attempt.start(["true"]).exit()["reason"] == "exited"


def test_an_exit_that_was_told_but_not_recorded_is_kept(attempt: Attempt) -> None:
    record = attempt.shell("exit 3").exit()
    (attempt.directory / "exit.json").unlink()

    assert attempt.runtime.record_lost(attempt.directory)

    again = attempt.exit()
    assert (again["code"], again["reason"], again["rusage"]) == (3, "exited", record["rusage"])
    assert len(attempt.telemetry("exit")) == 1


def test_a_reused_pid_is_not_signalled(attempt: Attempt) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as bystander:
        ticks = identity.start_ticks(bystander.pid)
        assert ticks is not None
        # What a shim wrote down long ago about a process that had this pid then.
        rundir.create(str(attempt.directory))
        rundir.write_json(str(attempt.directory), rundir.SPEC, attempt.spec(["true"]))
        rundir.write_json(
            str(attempt.directory),
            rundir.SHIM,
            {
                "boot_id": identity.boot_id(),
                "shim": {"pid": bystander.pid, "start_ticks": ticks - 1},
                "agent": {"pid": bystander.pid, "start_ticks": ticks - 1},
                "started_at": 0.0,
            },
        )
        assert not identity.send(bystander.pid, ticks - 1, signal.SIGKILL)
        assert not identity.is_alive(identity.boot_id(), bystander.pid, ticks - 1)
        assert not identity.is_alive("another boot", bystander.pid, ticks)
        assert Remains(bystander.pid, ticks - 1, str(attempt.runner_id), 1).find() == []

        assert attempt.runtime.record_lost(attempt.directory)

        assert attempt.exit()["reason"] == "lost"
        assert bystander.poll() is None
        assert identity.send(bystander.pid, ticks, signal.SIGKILL)


def test_after_a_reboot_nobody_is_signalled(attempt: Attempt) -> None:
    attempt.start(["sleep", "60"])
    pid, ticks = attempt.agent_pid, attempt.identities["agent"]["start_ticks"]
    lose_the_shim(attempt)
    rundir.write_json(str(attempt.directory), rundir.SHIM, {**attempt.identities, "boot_id": "another"})
    try:
        assert attempt.runtime.record_lost(attempt.directory)
        assert identity.is_alive(identity.boot_id(), pid, ticks)
    finally:
        identity.send(pid, ticks, signal.SIGKILL)


def test_a_shim_without_its_spec_starts_nothing_and_says_why(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    rundir.create(str(run_dir))
    lock = rundir.take_lock(str(run_dir))
    assert lock is not None
    os.close(lock)
    subprocess.run(shim_command("main", str(run_dir)), check=True, timeout=10)

    wait_for(lambda: "There is no spec.json" in (run_dir / "shim.log").read_text(), "the reason in shim.log")
    wait_for(lambda: not rundir.is_locked(str(run_dir)), "the end of the shim")


def test_a_shim_that_fails_kills_its_agent_and_says_so(attempt: Attempt) -> None:
    rundir.create(str(attempt.directory))
    rundir.write_json(str(attempt.directory), rundir.SPEC, attempt.spec(["/bin/sh", "-c", SURVIVOR], tty=True))
    command = shim_command("main", str(attempt.directory))
    break_it = "import runners.shim.operations as o; o.Operations.status = lambda *_: 1 / 0; from runners.shim.main"
    command[4] = command[4].replace("from runners.shim.main", break_it)
    subprocess.run(command, check=True, timeout=10)
    wait_for((attempt.directory / "output.cast").exists, "the shim")
    attempt.await_output("ready")

    with pytest.raises(ShimGone):
        attempt.client.status()

    record = attempt.exit()
    assert (record["signal"], record["reason"]) == (signal.SIGKILL, "shim_error: ZeroDivisionError: division by zero")
    assert attempt.telemetry("exit")[0]["reason"] == record["reason"]
    assert "Traceback" in attempt.log()
    assert not [p for p in identity.table().values() if identity.is_marked(p.pid, str(attempt.runner_id), 1)]


def test_the_zygote_ends_with_who_started_it_but_its_shims_go_on(tmp_path: Path) -> None:
    path = tmp_path / "zygote.sock"
    zygote = start_zygote(path)
    attempt = Attempt(tmp_path / "runs", ProcessRuntime(path)).start(["sleep", "60"])
    assert zygote.is_alive

    zygote.close()

    assert not path.exists()
    assert attempt.agent_is_alive
    other = Attempt(tmp_path / "runs", ProcessRuntime(path)).start(["true"])  # exec serves
    assert other.exit()["code"] == 0
    attempt.end()


def test_a_second_zygote_takes_the_place_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "zygote.sock"
    first = start_zygote(path)
    second = start_zygote(path)
    first.close()

    assert path.exists()
    attempt = Attempt(tmp_path / "runs", ProcessRuntime(path)).start(["true"])
    assert attempt.exit()["code"] == 0
    second.close()


def test_a_zygote_that_does_not_answer_is_done_without(tmp_path: Path) -> None:
    path = tmp_path / "zygote.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as deaf:
        deaf.bind(str(path))
        deaf.listen(1)

        def drop() -> None:
            deaf.accept()[0].close()

        thread = threading.Thread(target=drop)
        thread.start()
        attempt = Attempt(tmp_path / "runs", ProcessRuntime(path)).start(["true"])
        thread.join()
    assert attempt.exit()["code"] == 0
