"""The real Codex CLI, run as the backend says, talking to a fake model provider on loopback."""

import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from runners.backends.codex import CodexBackend
from runners.models import Session
from runners.states import ConversationMode
from tests.fake_models import Answer, Cut, Hold, ModelServer, Refusal, Text, Thinking, ToolCall, Usage
from tests.runners.backends.runs import Runs
from tests.runners.backends.telemetry import Ledger, Process

pytestmark = pytest.mark.codex

BACKEND = CodexBackend()
MODEL = "gpt-6.1-sol"
Start = Callable[..., Process]
RESUME = {"conversation_mode": ConversationMode.RESUME}


@pytest.fixture
def start(
    codex_path: str, model_server: ModelServer, session: Session, worktree: Path, home: Path
) -> Iterator[Callable[..., Process]]:
    """Start one run of a conversation, in an environment of its own."""
    runs = Runs(BACKEND, codex_path, session, worktree=worktree, home=home, model=MODEL)
    runs.environment["CODEX_API_KEY"] = "not-a-key"
    yield partial(runs.start, environment={"OPENAI_BASE_URL": f"{model_server.url}/v1"})
    runs.close()


def ledger() -> Ledger:
    return Ledger(state={"model": MODEL})


def shell(command: str) -> ToolCall:
    return ToolCall("exec_command", {"cmd": command})


def resumable(session: Session, ledger: Ledger) -> None:
    """Let the session know its program's own id, as the database would."""
    session.external_id = ledger.sessions[-1].external_id


def test_a_run_becomes_messages_and_tokens_and_changes_the_workspace(
    start: Start, model_server: ModelServer, worktree: Path
) -> None:
    model_server.script(
        Answer(
            Thinking("A file it is."),
            Text("I will make it."),
            shell("echo made by a tool > made.txt; cat made.txt"),
            usage=Usage(input_tokens=10, output_tokens=50, cache_read_tokens=1000, reasoning_tokens=20),
        ),
        Answer("It is made.", usage=Usage(input_tokens=5, output_tokens=7, cache_read_tokens=1300)),
    )
    prompt = "Please make a file.\n" + "Long prompts go through. " * 10_000
    run = ledger().take(BACKEND, start(prompt).finish())

    assert (worktree / "made.txt").read_text() == "made by a tool\n"
    assert "Long prompts go through. " * 10_000 in model_server.requests[0].text
    assert run.said() == [
        ("assistant", "", "I will make it."),
        ("assistant", "shell", ""),
        ("tool", "shell", "made by a tool\n"),
        ("assistant", "", "It is made."),
    ]
    (call,) = [m.tool_input for m in run.messages.values() if m.tool_input]
    assert "echo made by a tool" in call["command"]
    assert run.tokens_by_model == {MODEL: Usage(input_tokens=15, output_tokens=57, cache_read_tokens=2300)}
    assert run.cost_usd is None, "it tells none, and unknown is not 0"
    assert len(run.sessions) == 1
    assert run.sessions[0].external_id
    assert run.failures == []
    assert run.activities == ["working", "idle"]
    assert "unparsed" not in run.state
    assert "unknown" not in run.state


def test_the_model_that_is_asked_for_is_the_one_that_answers(start: Start, model_server: ModelServer) -> None:
    start(model="gpt-5.1").finish()
    assert {request.model for request in model_server.requests} == {"gpt-5.1"}


def test_a_resumed_conversation_knows_what_was_said_and_counts_nothing_twice(
    start: Start, model_server: ModelServer, session: Session
) -> None:
    model_server.script(Answer("Hello.", usage=Usage(input_tokens=1000, output_tokens=10)))
    run = ledger().take(BACKEND, start("The word is heron.").finish())
    resumable(session, run)

    model_server.script(Answer("Heron.", usage=Usage(input_tokens=30, output_tokens=3)))
    run.next_run().take(BACKEND, start("What was the word?", **RESUME).finish())
    assert "The word is heron." in model_server.requests[-1].text
    assert run.tokens == model_server.usage_total == Usage(input_tokens=1030, output_tokens=13)
    assert len({fact.external_id for fact in run.sessions}) == 1


def test_a_fork_knows_what_was_said_and_pays_only_for_itself(
    start: Start, model_server: ModelServer, session: Session
) -> None:
    model_server.script(Answer("Hello.", usage=Usage(input_tokens=1000, output_tokens=10)))
    origin = ledger().take(BACKEND, start("The word is heron.").finish())
    resumable(session, origin)

    model_server.script(Answer("Forked.", usage=Usage(input_tokens=40, output_tokens=4)))
    forked = Session(resumed_from=session)
    run = origin.fork().take(
        BACKEND, start("Another way.", session=forked, conversation_mode=ConversationMode.FORK).finish()
    )
    assert "The word is heron." in model_server.requests[-1].text
    assert run.tokens == Usage(input_tokens=40, output_tokens=4)
    assert run.sessions[0].external_id != session.external_id


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_midway_keeps_every_token_and_resuming_counts_none_twice(
    start: Start, model_server: ModelServer, session: Session, how: signal.Signals
) -> None:
    model_server.script(Answer("Hello.", usage=Usage(input_tokens=1000, output_tokens=10)))
    run = ledger().take(BACKEND, start().finish())
    resumable(session, run)

    model_server.script(Answer("Working.", shell("true"), usage=Usage(input_tokens=200, output_tokens=20)), Hold())
    process = start("Go on.", **RESUME)
    model_server.wait_for_requests(3)
    process.wait_for('"type":"item.completed"')
    process.send(how, as_stop=True)
    run.next_run().take(BACKEND, process.finish())
    assert ("assistant", "", "Working.") in run.said()
    assert run.tokens == model_server.usage_total == Usage(input_tokens=1200, output_tokens=30)
    assert run.failures == [], "it was asked to stop"

    model_server.script(Answer("Done.", usage=Usage(input_tokens=30, output_tokens=3)))
    run.next_run().take(BACKEND, start("And on.", **RESUME).finish())
    assert run.tokens == model_server.usage_total == Usage(input_tokens=1230, output_tokens=33)


def test_a_refused_key_is_a_failure_that_says_so(start: Start, model_server: ModelServer) -> None:
    model_server.otherwise = Refusal(status=401, message="Incorrect API key provided.")
    run = ledger().take(BACKEND, start().finish())

    assert len(run.failures) == 1
    assert "401" in run.failures[0]
    assert "Incorrect API key provided." in run.failures[0]
    assert run.tokens == Usage()


@pytest.mark.parametrize("status", [429, 529])
def test_a_busy_provider_is_seen_as_a_limit(start: Start, model_server: ModelServer, status: int) -> None:
    model_server.otherwise = Refusal(status=status, message="Not now.", retry_after_seconds=0)
    run = ledger().take(BACKEND, start().finish())

    assert run.activities == ["working", *["rate_limited"] * (len(run.activities) - 1)]
    assert str(status) in run.states[-1].note
    assert str(status) in run.failures[0]


def test_an_answer_that_was_cut_off_is_asked_for_again(start: Start, model_server: ModelServer) -> None:
    seen = threading.Event()
    seen.set()
    model_server.script(Cut(Answer("Never heard."), events=4, when=seen), Answer("Heard."))
    run = ledger().take(BACKEND, start().finish())

    assert run.said()[-1] == ("assistant", "", "Heard.")
    assert run.said()[0][0] == "system"
    assert run.failures == []
    assert run.tokens == model_server.usage_total


def test_its_sandbox_keeps_a_read_only_run_from_writing(
    start: Start, model_server: ModelServer, worktree: Path
) -> None:
    model_server.script(Answer(shell("echo x > made.txt")), Answer("It did not work."))
    start(flags=["--sandbox", "read-only"]).finish()

    assert not (worktree / "made.txt").exists()
    (refused,) = [item for item in model_server.requests[-1].body["input"] if item["type"] == "function_call_output"]
    assert "Read-only file system" in refused["output"]


def test_a_conversation_that_it_does_not_know_is_told_so(start: Start, session: Session) -> None:
    session.external_id = "3f0c8a52-0d7e-4d0e-9a37-0a52c1d5a001"
    (complaint,) = ledger().take(BACKEND, start(**RESUME).finish()).failures
    assert BACKEND.unknown_conversation in complaint


def test_the_program_tells_its_version(codex_path: str) -> None:
    assert BACKEND.version(codex_path).count(".") == 2
    assert BACKEND.version("/nowhere/codex") == ""
