"""What the backends gemini and opencode accept, and the command lines they build."""

import uuid
from typing import Any

import pytest

from runners.backends.base import Backend, LaunchRequest
from runners.backends.gemini import GeminiBackend
from runners.backends.opencode import OpenCodeBackend
from runners.exceptions import InvalidRequest
from runners.models import Runner, Session
from runners.states import ConversationMode
from tests.runners.backends.telemetry import Ledger

GEMINI, OPENCODE = GeminiBackend(), OpenCodeBackend()
SESSION = Session(id=uuid.UUID("3f0c8a52-0d7e-4d0e-9a37-0a52c1d5a001"))


@pytest.mark.parametrize(
    ("backend", "field", "fields"),
    [
        (GEMINI, "prompt", {"prompt": " "}),
        (GEMINI, "model", {"model": "--yolo"}),
        (GEMINI, "flags", {"flags": ["--yolo"]}),
        (GEMINI, "flags", {"flags": ["--approval-mode", "whatever"]}),
        (GEMINI, "flags", {"flags": ["--include-directories=/"]}),
        (GEMINI, "flags", {"flags": ["--extensions=a b"]}),
        (OPENCODE, "prompt", {"prompt": ""}),
        (OPENCODE, "model", {"model": "gpt-5"}),
        (OPENCODE, "model", {"model": "--auto"}),
        (OPENCODE, "flags", {"flags": ["--attach=http://elsewhere"]}),
        (OPENCODE, "flags", {"flags": ["--share"]}),
        (OPENCODE, "flags", {"flags": ["--agent", "../x"]}),
        (OPENCODE, "flags", {"flags": ["--dir=/"]}),
    ],
)
def test_what_it_cannot_or_must_not_run_is_refused(backend: Backend, field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        backend.check(LaunchRequest(backend=backend.name, **{"prompt": "Do it.", **fields}))
    assert refusal.value.facts["field"] == field


def command(backend: Backend, session: Session = SESSION, **fields: Any) -> list[str]:
    built = backend.command(Runner(session=session, prompt="--help  me\nplease", **fields), "/bin/program")
    assert built.stdin == "--help  me\nplease"
    assert "--help" not in built.argv
    return built.argv


def test_gemini_may_change_nothing_unless_a_flag_says_else() -> None:
    argv = command(GEMINI)
    assert argv[argv.index("--approval-mode") + 1] == "default"
    assert "default" not in command(GEMINI, flags=["--approval-mode=auto_edit"])


def test_opencode_accepts_nothing_that_it_would_ask_about_unless_a_flag_says_so() -> None:
    assert "--auto" not in command(OPENCODE)
    assert command(OPENCODE, flags=["--auto"])[-1] == "--auto"


def test_a_new_conversation_of_gemini_has_the_id_of_its_session_and_a_later_attempt_its_own() -> None:
    argv = command(GEMINI)
    assert argv[argv.index("--session-id") + 1] == str(SESSION.pk)
    runner_id = uuid.uuid4()
    first, again, other = (command(GEMINI, id=runner_id, generation=number) for number in (2, 2, 3))
    assert first == again != other
    assert str(SESSION.pk) not in first


def test_a_new_conversation_of_opencode_has_a_title_so_that_no_model_is_asked_for_one() -> None:
    assert "--title=--help me please" in command(OPENCODE)


def test_a_known_conversation_is_gone_on_with() -> None:
    known = Session(id=uuid.uuid4(), external_id="their-id")
    resume = {"conversation_mode": ConversationMode.RESUME}
    assert command(GEMINI, known, **resume)[-2:] == ["--resume", "their-id"]
    assert command(OPENCODE, known, **resume)[-2:] == ["--session", "their-id"]
    copy = Session(id=uuid.uuid4(), resumed_from=known)
    fork = {"conversation_mode": ConversationMode.FORK}
    assert command(OPENCODE, copy, **fork)[-3:] == ["--session", "their-id", "--fork"]


def test_what_gemini_said_before_it_was_killed_is_kept() -> None:
    pieces = [
        '{"type":"init","session_id":"s","model":"m"}',
        '{"type":"message","timestamp":"1","role":"assistant","content":"Half a ","delta":true}',
        '{"type":"message","timestamp":"2","role":"assistant","content":"sentence","delta":true}',
    ]
    records = [{"t": 2.0 + n, "kind": "line", "stream": "stdout", "text": text} for n, text in enumerate(pieces)]
    ledger = Ledger().take(GEMINI, [*records, {"t": 9.0, "kind": "exit", "code": None, "signal": 9}])
    assert ledger.said() == [("assistant", "", "Half a sentence")]
    assert ledger.failures == []
