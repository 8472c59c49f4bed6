"""The control socket of a shim: viewers, input, and who may ask for what."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runners.runtimes.shim_client import ShimGone, ShimRefused
from runners.shim.spool import ShortPath
from tests.runners.shim.attempt import Attempt


def test_a_late_viewer_gets_the_stream_from_its_offset(attempt: Attempt) -> None:
    attempt.shell("echo early; read go; for i in 1 2 3; do echo late $i; done", tty=True).await_output("early")
    path = attempt.directory / "output.cast"
    seen = path.stat().st_size

    with attempt.client.subscribe(seen) as (offset, stream):
        assert offset == seen
        attempt.client.input("\r")
        received = b""
        while data := stream.recv(65536):
            received += data

    attempt.exit()
    assert received == path.read_bytes()[seen:]
    assert b"late 3" in received


def test_a_viewer_that_does_not_read_holds_up_nobody(attempt: Attempt) -> None:
    attempt.python("import sys; input(); sys.stdout.write('x' * 8_000_000); print('all out'); input()", tty=True)
    with attempt.client.subscribe(0):
        attempt.client.input("\r")
        attempt.await_output("all out")
        assert attempt.client.status()["state"] == "running"
        attempt.client.input("\r")
        assert attempt.exit(5)["code"] == 0


def test_the_control_socket_answers_junk_with_a_sentence(attempt: Attempt) -> None:
    attempt.start(["sleep", "60"])
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answers:
        connection.settimeout(5)
        with ShortPath(str(attempt.directory / "control.sock")) as path:
            connection.connect(path)

        def ask(line: bytes) -> tuple[bool, str]:
            connection.sendall(line + b"\n")
            answer = json.loads(answers.readline())
            return answer["ok"], answer.get("error", "")

        assert ask(b"nonsense") == (False, "The request is not valid JSON.")
        assert ask(b"[1]") == (False, "A request is a JSON object with an `op`.")
        assert ask(b"[" * 100_000) == (False, "The request is not valid JSON.")
        assert ask(b'{"op": "dance"}')[1].startswith("There is no operation 'dance'")
        assert ask(b'{"op": "__init__"}')[1].startswith("There is no operation")
        assert ask(b'{"op": "resize", "columns": true, "rows": 1}') == (False, "`columns` is a number from 1 to 1000.")
        assert ask(b'{"op": "stop", "grace_seconds": -1}')[0] is False
        assert ask(b'{"op": "signal", "signal": "SIGKILL"}')[0] is False
        assert ask(b'{"op": "input", "data": "x"}')[1].startswith("The agent's input is closed")
        assert ask(b'{"op": "status"}') == (True, "")
        connection.sendall(b"{" * 3_000_000)
        assert json.loads(answers.readline())["error"].startswith("A request holds at most")
    assert attempt.client.status()["state"] == "running"


def test_many_requests_in_one_write_are_all_answered(attempt: Attempt) -> None:
    attempt.start(["sleep", "60"])
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("rb") as answers:
        connection.settimeout(5)
        with ShortPath(str(attempt.directory / "control.sock")) as path:
            connection.connect(path)
        connection.sendall(b'{"op": "status"}\n' * 5000)
        assert all(json.loads(answers.readline())["ok"] for _ in range(5000))


def test_the_run_directory_belongs_to_its_owner_alone(attempt: Attempt) -> None:
    attempt.start(["sleep", "60"])

    assert attempt.directory.stat().st_mode & 0o777 == 0o700
    for file in attempt.directory.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_user_is_turned_away(attempt: Attempt) -> None:
    # Somebody opened the socket to all, by mistake: even then.
    attempt.start(["sleep", "60"])
    path = attempt.directory / "control.sock"
    path.chmod(0o777)
    directory = os.open(attempt.directory, os.O_RDONLY)
    asker = (
        "import os, socket, sys; os.setresuid(65534, 65534, 65534); s = socket.socket(socket.AF_UNIX)\n"
        "s.connect('control.sock'); print(s.recv(1000).decode())"
    )
    attempt.directory.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import os; os.fchdir({directory}); {asker}"],
        pass_fds=[directory], capture_output=True, text=True, check=True, timeout=10,
    )  # fmt: skip
    os.close(directory)
    assert json.loads(done.stdout) == {"ok": False, "error": "This runner belongs to another user."}


def test_a_socket_path_over_107_bytes_works(new_attempt: Callable[..., Attempt], tmp_path: Path) -> None:
    runs = tmp_path / ("deep" * 20) / ("deeper" * 20)
    attempt = new_attempt(runs=runs)
    runs.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        directory = os.open(runs, os.O_PATH)
        ear.bind(f"/proc/self/fd/{directory}/nodeagent.sock")
        os.close(directory)
        ear.settimeout(5)
        attempt.shell("read go; echo went", tty=True, nudge=str(runs / "nodeagent.sock"))

        assert attempt.client.status()["state"] == "running"
        assert ear.recv(200).decode() == attempt.directory.name
    attempt.client.input("\r")
    assert attempt.exit()["code"] == 0


def test_nobody_answers_where_no_shim_is(attempt: Attempt) -> None:
    with pytest.raises(ShimGone):
        attempt.client.status()
    attempt.start(["true"]).exit()
    with pytest.raises(ShimGone):
        attempt.runtime.pause(attempt.directory)


def test_input_that_nobody_reads_is_refused_when_too_much_waits(attempt: Attempt) -> None:
    attempt.shell("stty raw; echo ready; sleep 60", tty=True).await_output("ready")
    attempt.client.input("x" * 700_000)

    with pytest.raises(ShimRefused, match="does not read its input"):
        attempt.client.input("y" * 700_000)


def test_input_under_one_key_goes_in_once_and_is_on_record(attempt: Attempt) -> None:
    attempt.shell("while read -r line; do echo got $line; done", input_until={"type": "result"})

    for _ in range(3):
        attempt.runtime.input(attempt.directory, "yes\n", once="q1")
    attempt.runtime.input(attempt.directory, "no\n", once="q2")
    attempt.await_output("got no")
    attempt.stop(0.5)

    assert attempt.exit()["reason"] == "stopped"
    assert attempt.lines() == ["got yes", "got no"]
    assert [record["once"] for record in attempt.telemetry() if record["kind"] == "given"] == ["q1", "q2"]
