"""The shim's small parts, without a shim."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.shim import identity, rundir
from runners.shim.agent import ExecFailed, Stdio, spawn
from runners.shim.lines import Lines
from runners.shim.loop import Loop
from runners.shim.spool import Cast


@given(st.lists(st.binary(max_size=40)), st.integers(min_value=4, max_value=50))
def test_lines_lose_and_invent_nothing(chunks: list[bytes], limit: int) -> None:
    lines = Lines(limit)
    pieces = [piece for chunk in chunks for piece in lines.feed(chunk)]
    rest = lines.rest()

    whole = b"".join(line + (b"" if partial else b"\n") for line, partial in pieces) + b"".join(
        line for line, _ in rest
    )
    assert whole == b"".join(chunks)
    assert all(len(line) <= limit for line, partial in pieces if partial)


@given(st.text(min_size=1, max_size=200), st.integers(min_value=4, max_value=30))
def test_a_cut_line_parts_no_character(text: str, limit: int) -> None:
    data = text.replace("\n", " ").encode("utf-8", "replace")
    lines = Lines(limit)
    pieces = [*lines.feed(data), *lines.rest()]

    assert "".join(line.decode() for line, _ in pieces) == data.decode()


@given(st.lists(st.binary(max_size=20)))
def test_a_cast_holds_the_whole_stream_whatever_the_reads(chunks: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        cast = Cast(directory, 80, 24, "dumb")
        for chunk in chunks:
            cast.write("stdout", chunk)
        cast.close()
        os.close(cast.file.fd)
        header, *events = [json.loads(line) for line in Path(directory, "output.cast").read_bytes().splitlines()]
    assert header["version"] == 2
    assert "".join(event[2] for event in events) == b"".join(chunks).decode("utf-8", "replace")


def test_a_process_name_with_parentheses_and_blanks_is_read_past() -> None:
    fields = b"S 7 8 9 " + b"0 " * 15 + b"4711 0 0"
    process = identity.Process(5, b"5 (a) S 1 (b) " + fields)

    assert (process.state, process.parent, process.group, process.session) == ("S", 7, 8, 9)
    assert process.start_ticks == 4711


def test_a_torn_line_is_cut_and_whole_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.jsonl"
    for before, after in ((b"", b""), (b"torn", b""), (b"a\n", b"a\n"), (b"a\nb" + b"x" * 200_000, b"a\n")):
        path.write_bytes(before)
        rundir.trim_torn_line(str(tmp_path), path.name)
        assert path.read_bytes() == after


def test_a_lock_is_held_until_the_last_copy_is_closed(tmp_path: Path) -> None:
    fd = rundir.take_lock(str(tmp_path))
    assert fd is not None
    copy = os.dup(fd)
    os.close(fd)
    assert rundir.take_lock(str(tmp_path)) is None
    assert rundir.is_locked(str(tmp_path))
    os.close(copy)
    assert not rundir.is_locked(str(tmp_path))


def test_a_file_that_is_not_an_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("[]")

    with pytest.raises(ValueError, match="JSON object"):
        rundir.read_json(str(tmp_path), "spec.json")


def test_timers_fire_in_time_and_can_be_replaced() -> None:
    loop = Loop()
    fired: list[str] = []
    loop.after("a", 0.01, lambda: fired.append("first"))
    loop.after("a", 0.02, lambda: fired.append("second"))
    loop.after("b", 0.0, lambda: fired.append("b"))
    loop.after("never", 0.01, lambda: fired.append("never"))
    loop.cancel("never")
    loop.after("end", 0.05, loop.stop)

    loop.run()

    assert fired == ["b", "second"]


def test_a_program_that_cannot_be_executed_has_ended_when_that_is_told() -> None:
    pids = []
    stdio = Stdio.on_pipes()

    def fork() -> int:
        pids.append(os.fork())
        return pids[-1]

    with pytest.raises(ExecFailed, match="No such file"):
        spawn({"argv": ["/no/such/program"], "cwd": "/"}, {}, stdio, lambda pid: None, fork)
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[0], os.WNOHANG)
    for fd in (stdio.input, *stdio.outputs.values(), *stdio.theirs):
        os.close(fd)
