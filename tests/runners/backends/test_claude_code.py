"""What the claude_code backend accepts, and the command line it builds."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from runners.backends.base import LaunchRequest
from runners.backends.claude_code import ClaudeCodeBackend
from runners.exceptions import InvalidRequest
from runners.models import Runner, Session
from runners.states import ConversationMode

BACKEND = ClaudeCodeBackend()
SESSION = Session(id=uuid.UUID("3f0c8a52-0d7e-4d0e-9a37-0a52c1d5a001"))


def request(**fields: Any) -> LaunchRequest:
    return LaunchRequest(backend="claude_code", **{"prompt": "Do it.", **fields})


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("prompt", {"prompt": "  \n"}),
        ("model", {"model": "--dangerously-skip-permissions"}),
        ("model", {"model": "two words"}),
        ("flags", {"flags": ["--dangerously-skip-permissions"]}),
        ("flags", {"flags": ["--permission-mode", "whatever"]}),
        ("flags", {"flags": ["--permission-mode=yolo"]}),
        ("flags", {"flags": ["--allowedTools", "--dangerously-skip-permissions"]}),
        ("flags", {"flags": ["--allowedTools", "Bash", "Edit"]}),
        ("flags", {"flags": ["--max-turns", "0"]}),
        ("flags", {"flags": ["--max-budget-usd", "nan"]}),
        ("flags", {"flags": ["--session-id", "x"]}),
        ("flags", {"flags": ["--add-dir", "/"]}),
        ("flags", {"flags": ["--settings={}"]}),
        ("flags", {"flags": ["a prompt"]}),
    ],
)
def test_what_it_cannot_or_must_not_run_is_refused(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        BACKEND.check(request(**fields))
    assert refusal.value.facts["field"] == field


@pytest.mark.parametrize("model", ["", "opus", "claude-sonnet-5[1m]", "us.anthropic.claude-opus-5-v1:0"])
def test_names_of_models_of_every_provider_are_accepted(model: str) -> None:
    BACKEND.check(request(model=model, flags=["--permission-mode", "plan", "--effort=high", "--restricted"]))


def command(**fields: Any) -> list[str]:
    runner = Runner(session=SESSION, prompt="--help", **fields)
    built = BACKEND.command(runner, "/bin/claude")
    assert built.stdin == "--help"
    assert not built.tty
    assert "--help" not in built.argv
    return built.argv


def test_a_new_conversation_has_the_id_of_its_session() -> None:
    argv = command(model="opus", flags=["--max-turns", "3"])
    assert argv[argv.index("--session-id") + 1] == str(SESSION.pk)
    assert argv[-4:] == ["--model", "opus", "--max-turns", "3"]


def test_a_later_attempt_has_an_id_of_its_own_that_stays_the_same() -> None:
    runner_id = uuid.uuid4()
    first, again, other = (command(id=runner_id, generation=number) for number in (2, 2, 3))
    assert first == again != other
    assert str(SESSION.pk) not in first


def test_a_resumed_conversation_is_the_one_the_program_knows() -> None:
    known = Session(id=uuid.uuid4(), external_id="their-own-id")
    runner = Runner(session=known, prompt="On.", conversation_mode=ConversationMode.RESUME)
    argv = BACKEND.command(runner, "/bin/claude").argv
    assert argv[argv.index("--resume") + 1] == "their-own-id"
    assert "--session-id" not in argv


def test_a_fork_copies_a_conversation_under_the_id_of_its_own_session() -> None:
    known = Session(id=uuid.uuid4(), external_id="their-own-id")
    copy = Session(id=uuid.uuid4(), resumed_from=known)
    argv = BACKEND.command(
        Runner(session=copy, prompt="On.", conversation_mode=ConversationMode.FORK), "/bin/claude"
    ).argv
    assert argv[argv.index("--resume") : argv.index("--resume") + 3] == ["--resume", "their-own-id", "--fork-session"]
    assert argv[argv.index("--session-id") + 1] == str(copy.pk)


def test_it_is_found_where_its_installer_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert BACKEND.find() is None
    program = tmp_path / ".local" / "bin" / "claude"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    assert BACKEND.find() == str(program)
