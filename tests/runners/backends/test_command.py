"""Backend `command`."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from runners.backends.base import LaunchRequest
from runners.backends.command import CommandBackend
from runners.exceptions import InvalidRequest
from runners.models import Runner
from tests.runners.backends.telemetry import Ledger
from tests.runners.backends.terminal import Terminal

BACKEND = CommandBackend()


def launch(*argv: Any, **fields: Any) -> LaunchRequest:
    return LaunchRequest(backend="command", argv=[*argv], **fields)


@pytest.mark.parametrize("argv", [[], [""], ["  "], ["ls", 5], [None], ["./run.sh"], ["bin/run"], ["ls", "a\0b"]])
def test_an_argv_that_names_no_program_is_refused(argv: list[Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        BACKEND.check(launch(*argv))
    assert refusal.value.facts["field"] == "argv"


def test_flags_are_refused_because_the_argv_holds_them() -> None:
    with pytest.raises(InvalidRequest):
        BACKEND.check(launch("ls", flags=["-l"]))


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("prompt", {"prompt": "a\0"}),
        ("environment", {"environment": {"A": "\0"}}),
        ("environment", {"environment": {"\0": ""}}),
    ],
)
def test_a_nul_character_is_refused_wherever_it_is(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        BACKEND.check(launch("ls", **fields))
    assert refusal.value.facts["field"] == field


def test_the_program_is_found_on_path_or_where_it_is_said_to_be(tmp_path: Path) -> None:
    own = tmp_path / "own-program"
    own.write_text("#!/bin/sh\n")
    assert BACKEND.find_for(launch("sh")) is not None
    assert BACKEND.find_for(launch(sys.executable)) == sys.executable
    assert BACKEND.find_for(launch(str(own))) is None, "it cannot be executed yet"
    own.chmod(0o700)
    assert BACKEND.find_for(launch(str(own))) == str(own)
    assert BACKEND.find_for(launch("own-program")) is None
    assert BACKEND.find_for(launch("own-program", environment={"PATH": str(tmp_path)})) == str(own)
    assert BACKEND.find_for(launch("no-such-program-anywhere")) is None
    assert BACKEND.find_for(launch(str(tmp_path))) is None, "a directory"


def test_it_runs_on_a_terminal_with_the_prompt_as_a_typed_line(tmp_path: Path) -> None:
    runner = Runner(backend="command", argv=["sh", "-c", 'read line; echo "got <$line>"; tty'], prompt="a word")
    program = BACKEND.find_for(runner)
    assert program is not None
    terminal = Terminal(BACKEND.command(runner, program), cwd=tmp_path, fifo=tmp_path / "report")
    try:
        assert terminal.finish() == 0
    finally:
        terminal.close()
    assert "got <a word>" in terminal.output
    assert os.sep + "dev" in terminal.output


def test_any_program_may_report(tmp_path: Path) -> None:
    line = '{"type":"usage","id":1,"model":"m","input_tokens":5,"cost_usd":0.25}'
    runner = Runner(
        backend="command", argv=["sh", "-c", f"echo '{line}' > $STRATAVORE_REPORT; echo '{line}' > $STRATAVORE_REPORT"]
    )
    terminal = Terminal(BACKEND.command(runner, "/bin/sh"), cwd=tmp_path, fifo=tmp_path / "report")
    try:
        assert terminal.finish() == 0
    finally:
        terminal.close()
    ledger = Ledger().take(BACKEND, terminal.records)
    assert [fact.input_tokens for fact in ledger.usage.values()] == [5], "the same id counts once"
    assert ledger.cost_usd == sum(fact.cost_usd or 0 for fact in ledger.usage.values())
