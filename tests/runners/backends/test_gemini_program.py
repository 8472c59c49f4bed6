"""The real Gemini CLI, run as the backend says, talking to a fake model provider on loopback."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from runners.backends.gemini import GeminiBackend
from runners.models import Session
from runners.states import ConversationMode
from tests.fake_models import Answer, Cut, Hold, ModelServer, Refusal, Text, Thinking, ToolCall, Usage
from tests.runners.backends.runs import Runs

pytestmark = pytest.mark.gemini

BACKEND = GeminiBackend()
MODEL = "gemini-2.5-flash"
RESUME: dict[str, Any] = {"conversation_mode": ConversationMode.RESUME}
#: With another base address the program wants to be told which kind of key it has.
SETTINGS = {"security": {"auth": {"selectedType": "gemini-api-key"}}, "general": {"enableAutoUpdate": False}}


@pytest.fixture
def runs(gemini_path: str, model_server: ModelServer, session: Session, worktree: Path, home: Path) -> Iterator[Runs]:
    runs = Runs(BACKEND, gemini_path, session, worktree=worktree, home=home, model=MODEL)
    (home / ".gemini").mkdir()
    (home / ".gemini" / "settings.json").write_text(json.dumps(SETTINGS))
    runs.environment |= {"GEMINI_API_KEY": "not-a-key", "GOOGLE_GEMINI_BASE_URL": model_server.url}
    yield runs
    runs.close()


def shell(command: str) -> ToolCall:
    return ToolCall("run_shell_command", {"command": command})


def test_a_run_becomes_messages_and_tokens_and_changes_the_workspace(
    runs: Runs, model_server: ModelServer, session: Session, worktree: Path
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
    ledger = runs.run(prompt, flags=["--approval-mode", "yolo"])

    assert (worktree / "made.txt").read_text() == "made by a tool\n"
    assert "Long prompts go through. " * 10_000 in model_server.requests[0].text
    assert ledger.said() == [
        ("assistant", "", "I will make it."),
        ("assistant", "run_shell_command", ""),
        ("tool", "run_shell_command", "made by a tool"),
        ("assistant", "", "It is made."),
    ]
    (call,) = [m.tool_input for m in ledger.messages.values() if m.tool_input]
    assert call == {"command": "echo made by a tool > made.txt; cat made.txt"}
    assert ledger.tokens_by_model == {MODEL: Usage(input_tokens=15, output_tokens=57, cache_read_tokens=2300)}
    assert ledger.cost_usd is None, "it tells none, and unknown is not 0"
    assert [fact.external_id for fact in ledger.sessions] == [str(session.pk)]
    assert ledger.failures == []
    assert ledger.activities == ["working", "idle"]
    assert "unparsed" not in ledger.state
    assert "unknown" not in ledger.state


def test_by_default_it_can_change_nothing(runs: Runs, model_server: ModelServer, worktree: Path) -> None:
    model_server.script(Answer(shell("echo x > made.txt")), Answer("It did not work."))
    ledger = runs.run()

    assert list(worktree.iterdir()) == []
    offered = {tool["name"] for each in model_server.requests[0].body["tools"] for tool in each["functionDeclarations"]}
    assert not offered & {"run_shell_command", "write_file", "replace"}
    assert [m.is_error for m in ledger.messages.values() if m.role == "tool"] == [True]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_midway_keeps_every_token_and_resuming_counts_none_twice(
    runs: Runs, model_server: ModelServer, how: signal.Signals
) -> None:
    model_server.script(Answer("Hello.", usage=Usage(input_tokens=1000, output_tokens=10)))
    ledger = runs.run("The word is heron.")

    model_server.script(Answer("Working.", shell("true"), usage=Usage(input_tokens=200, output_tokens=20)), Hold())
    process = runs.start("Go on.", flags=["--approval-mode=yolo"], **RESUME)
    model_server.wait_for_requests(3)
    process.wait_for('"type":"tool_result"')
    process.send(how, as_stop=True)
    ledger.next_run().take(BACKEND, process.finish())
    assert ("assistant", "", "Working.") in ledger.said()
    assert ledger.tokens == model_server.usage_total == Usage(input_tokens=1200, output_tokens=30)
    assert ledger.failures == [], "it was asked to stop"

    model_server.script(Answer("Heron.", usage=Usage(input_tokens=30, output_tokens=3)))
    ledger.next_run().take(BACKEND, runs.start("What was the word?", **RESUME).finish())
    assert "The word is heron." in model_server.requests[-1].text
    assert ledger.said()[-1] == ("assistant", "", "Heron.")
    assert len({fact.external_id for fact in ledger.sessions}) == 1
    assert ledger.tokens == model_server.usage_total == Usage(input_tokens=1230, output_tokens=33)


def test_an_end_that_nobody_asked_for_is_a_failure(runs: Runs, model_server: ModelServer) -> None:
    model_server.script(Hold())
    process = runs.start()
    model_server.wait_for_requests(1)
    process.send(signal.SIGINT)
    assert runs.ledger().take(BACKEND, process.finish()).failures == ["It ended without telling a result."]


def test_a_second_attempt_of_a_new_conversation_does_not_meet_the_first(runs: Runs, model_server: ModelServer) -> None:
    runs.run()
    second = runs.run(generation=2)
    assert second.failures == []
    assert runs.run(generation=1).failures[0].startswith("Error starting session")


def test_a_node_that_trusts_no_workspace_leaves_it_to_the_programs_own_settings(
    runs: Runs, model_server: ModelServer, home: Path, worktree: Path, settings: Settings
) -> None:
    settings.TRUST_WORKSPACES = False
    ledger = runs.run()
    assert model_server.requests == [], "nobody was asked anything"
    assert "trust" in ledger.failures[0].lower(), ledger.failures

    (home / ".gemini" / "trustedFolders.json").write_text(json.dumps({str(worktree): "TRUST_FOLDER"}))
    model_server.script(Answer("It is made."))
    assert runs.run().said() == [("assistant", "", "It is made.")]


def test_a_refused_key_is_a_failure_that_says_so(runs: Runs, model_server: ModelServer) -> None:
    model_server.otherwise = Refusal(status=401, message="API key not valid.")
    ledger = runs.run()
    assert ledger.failures == ["API key not valid."]
    assert ledger.tokens == Usage()


@pytest.mark.parametrize("status", [429, 529])
def test_a_busy_provider_is_waited_for_and_the_wait_is_told(runs: Runs, model_server: ModelServer, status: int) -> None:
    model_server.script(Refusal(status=status, message="Not now.", retry_after_seconds=1), Answer("Now it works."))
    ledger = runs.run()

    assert ledger.said()[0][0] == "system"
    assert ledger.said()[-1] == ("assistant", "", "Now it works.")
    assert ledger.activities[1] == "rate_limited"
    assert ledger.activities[-2:] == ["working", "idle"]
    assert ledger.failures == []
    if status == 429:
        waits = [(fact.until - fact.at).total_seconds() for fact in ledger.states if fact.until]
        assert waits[0] > 0


def test_an_answer_that_was_cut_off_is_a_failure(runs: Runs, model_server: ModelServer) -> None:
    model_server.script(Cut(Answer("Never whole."), events=1))
    model_server.otherwise = Cut(Answer("Never whole."), events=1)
    ledger = runs.run()
    assert len(ledger.failures) == 1
    assert "API Error" in ledger.failures[0]


def test_a_conversation_that_it_does_not_know_is_told_so(runs: Runs, session: Session) -> None:
    session.external_id = "3f0c8a52-0d7e-4d0e-9a37-0a52c1d5a001"
    (complaint,) = runs.ledger().take(BACKEND, runs.start(**RESUME).finish()).failures
    assert BACKEND.unknown_conversation in complaint


def test_the_program_tells_its_version(gemini_path: str) -> None:
    assert BACKEND.version(gemini_path).count(".") == 2
