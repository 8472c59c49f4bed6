"""Reading telemetry files: whole lines only, anything may stand in them."""

import json
import shutil
import uuid
from pathlib import Path

import pytest

from runners.node_agent.attempts import Attempt, attempt_at, find_attempts, parse
from runners.node_agent.terminals import read_lines

#: The rules of redaction are there.
pytestmark = pytest.mark.django_db


def attempt(directory: Path, telemetry: bytes) -> Attempt:
    run = directory / f"{uuid.uuid4().hex}.1"
    run.mkdir()
    (run / "telemetry.jsonl").write_bytes(telemetry)
    found = attempt_at(run)
    assert found is not None
    found.offset = 0
    return found


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    batch = attempt(tmp_path, b'{"kind":"started"}\n{"kind":"li').next_batch()
    assert batch is not None
    assert ([r["kind"] for r in batch.records], batch.end_offset) == (["started"], 19)


def test_nothing_whole_is_no_batch(tmp_path: Path) -> None:
    assert attempt(tmp_path, b'{"kind":').next_batch() is None


def test_a_record_longer_than_a_batch_is_read_whole(tmp_path: Path) -> None:
    long = json.dumps({"kind": "line", "text": "x" * 3_000_000}).encode() + b"\n"
    batch = attempt(tmp_path, long).next_batch()
    assert batch is not None
    assert batch.end_offset == len(long)


@pytest.mark.parametrize("line", [b"not json", b"[1]", b"\xff\xfe", b'"text"'])
def test_a_line_that_is_no_record_is_kept_as_garbled(line: bytes) -> None:
    assert parse(line)["kind"] == "garbled"


def test_what_a_database_cannot_hold_is_replaced_wherever_it_stands() -> None:
    record = parse(rb'{"kind":"report","data":{"a\u0000":["\ud800x", {"b":"\u0000"}], "n": 1, "fine":"\ud83d\ude00"}}')
    assert record["data"] == {"a\ufffd": ["\ufffdx", {"b": "\ufffd"}], "n": 1, "fine": "\U0001f600"}


def test_attempts_are_found_once_and_those_done_with_not_at_all(tmp_path: Path) -> None:
    fresh, done = attempt(tmp_path, b""), attempt(tmp_path, b"")
    done.close()
    (tmp_path / "nodeagent.sock").touch()
    known: set[str] = set()
    assert [found.key for found in find_attempts(tmp_path, known)] == [fresh.key]
    assert done.name in known
    # What is remembered is no more than what is there.
    shutil.rmtree(done.directory)
    list(find_attempts(tmp_path, known))
    assert known == set()


def test_a_tail_begins_at_the_beginning_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "output.cast"
    path.write_bytes(b"".join(b"line %d\n" % n for n in range(100)))
    offset, data = read_lines(path, -1, 20)
    assert data == b"line 98\nline 99\n"
    assert path.read_bytes()[offset:] == data
    assert read_lines(path, offset + len(data), 20) == (offset + len(data), b"")
    assert read_lines(tmp_path / "missing", -1, 20) == (0, b"")
