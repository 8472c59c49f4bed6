"""An agent on pipes and on a terminal: what goes in, what comes out, what is recorded."""

import hashlib
import resource
import signal
import socket
from pathlib import Path

import pytest

from runners.shim import identity
from tests.runners.shim.attempt import Attempt, wait_for


def test_an_agent_on_pipes_leaves_its_lines_and_its_exit(attempt_either_way: Attempt) -> None:
    attempt = attempt_either_way.shell("echo one; echo two >&2; cat; exit 3", stdin="three\nwithout an end")

    record = attempt.exit()

    assert (record["code"], record["signal"], record["reason"]) == (3, None, "exited")
    assert attempt.lines() == ["one", "three", "without an end"]
    assert attempt.lines("stderr") == ["two"]
    # The two streams meet in the order in which they were read.
    assert attempt.output().replace("two\n", "", 1) == "one\nthree\nwithout an end"


def test_the_exit_record_repeats_the_last_telemetry_record(attempt: Attempt) -> None:
    record = attempt.shell("exit 0").exit()

    told = attempt.telemetry()
    assert [entry["kind"] for entry in told] == ["started", "exit"]
    assert told[0]["pid"] == attempt.agent_pid
    assert told[0]["boot_id"] == record["boot_id"] == identity.boot_id()
    shared = {key: value for key, value in told[-1].items() if key not in ("t", "kind")}
    assert {key: record[key] for key in shared} == shared
    assert set(record["rusage"]) == {"utime_seconds", "stime_seconds", "max_rss_mb"}
    assert 0 < record["duration_seconds"] < 10
    assert told[0]["t"] <= told[-1]["t"] <= record["ended_at"]


def test_an_agent_killed_by_a_signal_is_recorded_with_it(attempt: Attempt) -> None:
    record = attempt.shell("kill -USR1 $$; sleep 60").exit()

    assert (record["code"], record["signal"], record["reason"]) == (None, signal.SIGUSR1, "signaled")


def test_a_terminal_echoes_and_carries_input(attempt_either_way: Attempt) -> None:
    attempt = attempt_either_way.shell("tty; read answer; echo got $answer", tty=True)

    attempt.await_output("/dev/pts/")
    attempt.runtime.input(attempt.directory, "yes, please\r")

    assert attempt.exit()["code"] == 0
    assert "yes, please\r\ngot yes, please\r\n" in attempt.output()
    assert attempt.telemetry("line") == []


def test_ctrl_c_reaches_the_foreground_of_the_terminal(attempt: Attempt) -> None:
    # Not a shell: between two commands dash notes the signal, and waits for the next one all the same.
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); print('ready'); time.sleep(60)"
    attempt.python(code, tty=True).await_output("ready")

    attempt.client.input(b"\x03")

    assert attempt.exit()["signal"] == signal.SIGINT


def test_the_first_input_of_a_terminal_comes_from_the_spec(attempt: Attempt) -> None:
    attempt.shell("read answer; echo got $answer", tty=True, stdin="typed\n")

    attempt.exit()

    assert "got typed" in attempt.output()


def test_a_resized_terminal_tells_its_agent(attempt: Attempt) -> None:
    attempt.shell("trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.05; done", tty=True)
    attempt.await_output("32 120")

    attempt.runtime.resize(attempt.directory, columns=90, rows=20)

    attempt.exit()
    assert "20 90" in attempt.output()
    assert [text for _, code, text in attempt.events() if code == "r"] == ["90x20"]


def test_the_agent_leads_a_session_of_its_own_with_clean_signals_and_descriptors(attempt_either_way: Attempt) -> None:
    attempt = attempt_either_way.python(
        "import os, signal\n"
        "print(os.getpid() == os.getsid(0) == os.getpgrp())\n"
        "print(open('/proc/self/status').read())\n"
        "print('fds', sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1])\n"
    )

    attempt.exit()

    lines = attempt.lines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert lines[0] == "True"
    assert int(status["SigBlk"], 16) == 0
    # Python itself ignores SIGPIPE and SIGXFSZ; the shim's SIGHUP must not have got through.
    # Above 31 are the C library's own signals, which whoever started us may have had ignored: nobody can change those.
    ignored = int(status["SigIgn"], 16) & (1 << 31) - 1
    assert ignored == 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    assert "fds [0, 1, 2]" in lines


def test_the_agent_knows_its_runner_and_where_to_report(attempt: Attempt) -> None:
    attempt.shell("echo $STRATAVORE_RUNNER_ID $STRATAVORE_GENERATION $STRATAVORE_REPORT $MINE", env={"MINE": "x y"})

    attempt.exit()

    assert attempt.lines() == [f"{attempt.runner_id} 1 {attempt.directory}/report x y"]


@pytest.mark.parametrize("tty", [False, True])
def test_characters_split_across_writes_stay_whole(attempt: Attempt, tmp_path: Path, tty: bool) -> None:
    # The rest of each character comes when what stands before it was read, and so was its beginning.
    attempt.python(
        "import os, sys, time\n"
        "parts = (b'a\\xc3', b'\\xa9'), (b'b\\xe2\\x82', b'\\xac'), (b'c\\xf0', b'\\x9f\\x98\\x80')\n"
        "for number, (head, tail) in enumerate(parts):\n"
        "    os.write(1, head)\n"
        "    while not os.path.exists(f'{sys.argv[1]}/{number}'): time.sleep(0.005)\n"
        "    os.write(1, tail)\n",
        str(tmp_path),
        tty=tty,
    )
    for number, seen in enumerate(("a", "aéb", "aéb€c")):
        attempt.await_output(seen)
        (tmp_path / str(number)).touch()

    attempt.exit()

    assert attempt.output() == "aéb€c😀"
    assert len(attempt.events()) > 1


@pytest.mark.parametrize("tty", [False, True])
def test_invalid_bytes_become_replacement_characters_in_valid_json(attempt: Attempt, tty: bool) -> None:
    attempt.python(r"import os; os.write(1, b'a\xff\xfeb\x00c\x1b[31m\n\xe2\x82')", tty=tty)

    attempt.exit()

    assert attempt.output().replace("\r", "") == "a\ufffd\ufffdb\0c\x1b[31m\n\ufffd"
    if not tty:
        assert attempt.lines() == ["a\ufffd\ufffdb\0c\x1b[31m", "\ufffd"]


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("megabytes", [20, pytest.param(100, marks=pytest.mark.soak)])
def test_a_flood_is_complete(attempt: Attempt, tty: bool, megabytes: int) -> None:
    attempt.python(
        "import hashlib, os, sys, termios\n"
        "if os.isatty(1):\n"
        "    mode = termios.tcgetattr(1); mode[1] &= ~termios.OPOST; termios.tcsetattr(1, termios.TCSANOW, mode)\n"
        "sums = hashlib.sha256()\n"
        f"for number in range({megabytes} * 16):\n"
        "    block = (f'{number:07d} ' * 8191 + 'block\\n').encode()\n"
        "    sums.update(block); sys.stdout.buffer.write(block)\n"
        "sys.stdout.buffer.write(sums.hexdigest().encode())\n",
        tty=tty,
    )

    assert attempt.exit(5 * megabytes)["code"] == 0

    text = attempt.output()
    body, told = text[:-64], text[-64:]
    assert len(body) > 1_000_000 * megabytes
    assert hashlib.sha256(body.encode()).hexdigest() == told
    if not tty:
        assert "\n".join(attempt.lines()) == text


def test_a_line_over_8_mb_comes_in_marked_pieces(attempt: Attempt) -> None:
    attempt.python("import sys; sys.stdout.write('é' * 9_000_001 + '\\nnext\\n')")

    attempt.exit(30)

    records = attempt.telemetry("line")
    assert [record.get("partial", False) for record in records] == [True, True, False, False]
    assert "".join(record["text"] for record in records[:3]) == "é" * 9_000_001
    assert records[3]["text"] == "next"


def test_an_agent_that_closes_its_terminal_goes_on(attempt: Attempt) -> None:
    attempt.python(
        "import os, time\n"
        "print('before', flush=True)\n"
        "for fd in (0, 1, 2): os.close(fd)\n"
        "time.sleep(0.2)\n"
        "os.write(os.open('/dev/tty', os.O_RDWR), b'after\\n')\n"
        "os._exit(5)\n",
        tty=True,
    )

    assert attempt.exit()["code"] == 5
    assert attempt.output() == "before\r\nafter\r\n"


def test_an_agent_that_closes_its_pipes_goes_on(attempt: Attempt) -> None:
    attempt.shell("exec <&- >&- 2>&-; sleep 0.1; exit 6")

    assert attempt.exit()["code"] == 6


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"argv": ["/no/such/program"]}, "exec_failed: No such file or directory: /no/such/program"),
        ({"argv": ["no-such-program-anywhere"]}, "exec_failed: No such file or directory: no-such-program-anywhere"),
        ({"argv": ["/etc/passwd"]}, "exec_failed: Permission denied: /etc/passwd"),
        ({"argv": []}, "exec_failed: The command is empty."),
        ({"cwd": "/no/such/place"}, "exec_failed: No such file or directory: the directory /no/such/place"),
    ],
)
def test_what_cannot_be_executed_is_recorded(attempt: Attempt, changes: dict[str, object], sentence: str) -> None:
    attempt.start(**{"argv": ["true"], **changes})  # type: ignore[arg-type]

    record = attempt.exit()
    assert (record["code"], record["reason"]) == (127, sentence)
    assert [(entry["kind"], entry["reason"]) for entry in attempt.telemetry()] == [("exit", sentence)]


def test_limits_of_the_spec_bind_the_agent(attempt: Attempt) -> None:
    attempt.shell("ulimit -n; ulimit -c", rlimits={"nofile": 256, "core": 0})

    attempt.exit()

    assert attempt.lines() == ["256", "0"]


def test_reports_become_telemetry(attempt: Attempt) -> None:
    attempt.python(
        "import os\n"
        "def report(text):\n"
        "    with open(os.environ['STRATAVORE_REPORT'], 'w') as fifo: fifo.write(text)\n"
        "report('{\"tokens\": 12}\\n')\n"
        "report('[1, 2]\\nplain words\\n\\n')\n"
        "report('NaN\\n' + '[' * 5000 + '\\n')\n"
        "report('\"\\\\ud800\"\\nno end')\n"
    )

    attempt.exit()

    data = [record["data"] for record in attempt.telemetry("report")]
    assert data[:4] == [{"tokens": 12}, [1, 2], {"raw": "plain words"}, {"raw": "NaN"}]
    assert data[4:] == [{"raw": "[" * 5000}, "\ud800", {"raw": "no end"}]
    assert not (attempt.directory / "report").exists()


def test_the_node_agent_is_nudged_but_not_flooded(attempt: Attempt, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        path = tmp_path / "nodeagent.sock"
        ear.bind(str(path))
        ear.settimeout(5)
        attempt.shell("for i in $(seq 300); do echo $i; sleep 0.001; done", nudge=str(path))
        assert ear.recv(200).decode() == attempt.directory.name
        duration = attempt.exit()["duration_seconds"]
        ear.setblocking(False)
        nudges = 1
        while True:
            try:
                ear.recv(200)
            except BlockingIOError:
                break
            nudges += 1
    # A datagram socket holds few messages here; what did not fit was not waited for.
    assert nudges <= duration / 0.02 + 4


def test_a_full_disk_loses_output_but_not_the_agent_nor_its_exit(attempt: Attempt) -> None:
    # A file-size limit on the shim stands in for the full disk: the same failing write.
    attempt.shell("echo first; read go; seq 200000; read go; echo last; exit 4", tty=True).await_output("first")
    shim, room = attempt.shim_pid, 20_000
    resource.prlimit(shim, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    attempt.client.input("\r")
    wait_for(lambda: attempt.client.status().get("lost_bytes", 0) > 1_200_000, "lost output")
    resource.prlimit(shim, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    attempt.client.input("\r")

    record = attempt.exit()

    assert record["code"] == 4
    assert record["spool_error"] == "File too large"
    assert record["lost_bytes"] > 1_200_000
    assert "bytes of output were lost: File too large]" in attempt.output()
    assert attempt.output().endswith("last\r\n")
    assert "Output is being lost" in attempt.log()


def test_input_is_kept_open_until_the_agent_prints_its_last_word(attempt_either_way: Attempt) -> None:
    lines = [
        '{"type": "tool", "input": {"type": "result"}}',  # not itself of that type
        '"result" {"type":"result"}',  # no JSON
        '{"type": "result", "text": "done"}',
    ]
    script = 'read -r first; for line in "$@"; do echo "$line"; done; echo $first; cat; echo end of input'
    attempt = attempt_either_way.start(
        ["/bin/sh", "-c", script, "sh", *lines], stdin="begin\n", input_until={"type": "result"}
    )

    assert attempt.exit()["code"] == 0
    assert attempt.lines() == [*lines, "begin", "end of input"]


def test_input_stays_open_while_the_last_word_is_not_said(attempt: Attempt) -> None:
    attempt.shell('echo "{\\"type\\": \\"assistant\\"}"; cat', input_until={"type": "result"})

    attempt.await_output("assistant")
    assert attempt.client.status()["input_open"]
    attempt.runtime.input(attempt.directory, '{"type":"result"}\n')

    assert attempt.exit()["code"] == 0
