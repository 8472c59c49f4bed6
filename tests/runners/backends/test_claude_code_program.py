"""The real Claude Code CLI, run as the backend says, talking to a fake model provider on loopback."""

import json
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from runners.backends.claude_code import ClaudeCodeBackend
from runners.models import Runner, Session
from runners.states import ConversationMode
from tests.fake_models import Answer, Cut, Hold, ModelServer, Refusal, Text, Thinking, ToolCall, Usage
from tests.runners.backends.telemetry import Ledger, Process, Record

pytestmark = pytest.mark.claude

BACKEND = ClaudeCodeBackend()
Start = Callable[..., Process]


@pytest.fixture
def session() -> Session:
    return Session(id=uuid.uuid4(), backend="claude_code")


@pytest.fixture
def start(
    claude_code_path: str, model_server: ModelServer, session: Session, worktree: Path, home: Path
) -> Iterator[Start]:
    """Start one run of the session's conversation, in an environment of its own."""
    processes: list[Process] = []

    def start(prompt: str = "Please make a file.", *, env: dict[str, str] | None = None, **fields: Any) -> Process:
        about = {"session": session, "backend": "claude_code", "prompt": prompt, "workspace": str(worktree)}
        runner = Runner(**{**about, **fields})
        command = BACKEND.command(runner, claude_code_path)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": model_server.url,
            "ANTHROPIC_API_KEY": "not-a-key",
            **command.env,
            **(env or {}),
        }
        processes.append(Process(command, env=environment, cwd=worktree))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


def shell(command: str) -> ToolCall:
    return ToolCall("Bash", {"command": command, "description": "Do it"})


def result_of(records: list[Record]) -> dict[str, Any]:
    lines = [record["text"] for record in records if record.get("stream") == "stdout"]
    line: dict[str, Any] = json.loads(lines[-1], parse_float=Decimal)
    assert line["type"] == "result"
    return line


def rounded(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.00000001"))


def test_what_was_said_tells_what_its_answer_used(start: Start, model_server: ModelServer) -> None:
    first, second = Usage(input_tokens=10, output_tokens=50), Usage(input_tokens=5, output_tokens=7)
    model_server.script(
        Answer(Text("I will look."), shell("echo seen"), usage=first), Answer("I have seen it.", usage=second)
    )
    ledger = Ledger().take(BACKEND, start().finish())
    assert [role for role, _, _ in ledger.said()] == ["assistant", "assistant", "tool", "assistant"]
    assert ledger.tokens_of_answers(BACKEND) == [first, first, Usage(), second]


def test_a_run_becomes_messages_tokens_and_cost_and_changes_the_workspace(
    start: Start, model_server: ModelServer, session: Session, worktree: Path
) -> None:
    call = shell("echo made by a tool > made.txt")
    model_server.script(
        Answer(
            Thinking("A file it is."),
            Text("I will make it."),
            call,
            usage=Usage(input_tokens=10, output_tokens=50, cache_read_tokens=1000, cache_write_tokens=300),
        ),
        Answer("It is made.", usage=Usage(input_tokens=5, output_tokens=7, cache_read_tokens=1300)),
    )
    records = start(
        "Please make a file.\n" + "Long prompts go through. " * 10_000, flags=["--allowedTools", "Bash"]
    ).finish()
    ledger = Ledger().take(BACKEND, records)

    assert (worktree / "made.txt").read_text() == "made by a tool\n"
    assert "Long prompts go through. " * 10_000 in model_server.requests[0].text
    assert ledger.said() == [
        ("assistant", "", "I will make it."),
        ("assistant", "Bash", ""),
        ("tool", "Bash", "(Bash completed with no output)"),
        ("assistant", "", "It is made."),
    ]
    assert [m.tool_input for m in ledger.messages.values() if m.tool_input] == [dict(call.input)]
    assert ledger.tokens_by_model == model_server.usage_by_model
    assert ledger.cost_usd == rounded(result_of(records)["total_cost_usd"]) > 0
    assert [fact.external_id for fact in ledger.sessions] == [str(session.pk)]
    assert ledger.failures == []
    assert "unparsed" not in ledger.state


def test_the_model_that_is_asked_for_is_the_one_that_answers(start: Start, model_server: ModelServer) -> None:
    ledger = Ledger().take(BACKEND, start(model="claude-haiku-4-5").finish())

    assert {request.model for request in model_server.requests} == set(ledger.tokens_by_model)
    assert all("haiku" in model for model in ledger.tokens_by_model)


def test_a_refused_key_is_a_failure_that_says_so(start: Start, model_server: ModelServer) -> None:
    model_server.otherwise = Refusal(status=401, message="invalid x-api-key")
    ledger = Ledger().take(BACKEND, start(env={"CLAUDE_CODE_MAX_RETRIES": "1"}).finish())

    assert len(ledger.failures) == 1
    assert "Invalid API key" in ledger.failures[0]
    assert ledger.said()[0][2].startswith("The provider failed (401")
    assert ledger.tokens == Usage()


@pytest.mark.parametrize("status", [429, 529])
def test_a_busy_provider_is_tried_again_and_the_wait_is_told(
    start: Start, model_server: ModelServer, status: int
) -> None:
    model_server.script(Refusal(status=status, retry_after_seconds=0), Answer("Now it works."))
    ledger = Ledger().take(BACKEND, start().finish())

    first, last = ledger.said()
    assert first[0] == "system"
    assert f"({status}" in first[2]
    assert last == ("assistant", "", "Now it works.")
    assert ledger.failures == []
    assert ledger.tokens == model_server.usage_total


def test_tokens_of_an_answer_that_was_cut_off_count_as_far_as_they_were_told(
    start: Start, model_server: ModelServer
) -> None:
    seen = threading.Event()
    answer = Answer("Never heard.", usage=Usage(input_tokens=999, output_tokens=9))
    model_server.script(Cut(answer, events=4, when=seen), Answer("Heard."))
    process = start()
    process.wait_for("content_block_delta")
    seen.set()
    records = process.finish()
    ledger = Ledger().take(BACKEND, records)

    assert ledger.said()[-1] == ("assistant", "", "Heard.")
    assert ledger.tokens.input_tokens == model_server.usage_total.input_tokens + 999
    # Of an answer that never ended the program itself guesses the output.
    (told,) = result_of(records)["modelUsage"].values()
    assert ledger.tokens.output_tokens == told["outputTokens"]
    assert ledger.cost_usd == rounded(result_of(records)["total_cost_usd"])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_midway_keeps_every_token_and_resuming_counts_none_twice(
    start: Start, model_server: ModelServer, how: signal.Signals
) -> None:
    model_server.script(Answer("Hello.", usage=Usage(input_tokens=1000, output_tokens=10)))
    ledger = Ledger().take(BACKEND, start().finish())

    model_server.script(Answer("Working.", shell("true"), usage=Usage(input_tokens=200, output_tokens=20)), Hold())
    resumed = {"conversation_mode": ConversationMode.RESUME}
    process = start("Go on.", flags=["--allowedTools", "Bash"], **resumed)
    model_server.wait_for_requests(3)
    process.send(how, as_stop=True)
    ledger.next_run().take(BACKEND, process.finish())
    assert ledger.tokens == model_server.usage_total == Usage(input_tokens=1200, output_tokens=30)
    assert ledger.failures == [], "it was asked to stop"

    model_server.script(Answer("Done.", usage=Usage(input_tokens=30, output_tokens=3)))
    records = start("And on.", **resumed).finish()
    ledger.next_run().take(BACKEND, records)
    assert ledger.tokens == model_server.usage_total == Usage(input_tokens=1230, output_tokens=33)
    told = rounded(result_of(records)["total_cost_usd"])
    # After SIGKILL the program has forgotten what the killed run cost: then nobody knows the whole cost.
    assert ledger.cost_usd == (None if how == signal.SIGKILL else told)


def test_a_fork_knows_what_was_said_and_pays_only_for_itself(
    start: Start, model_server: ModelServer, session: Session
) -> None:
    model_server.script(Answer("Hello.", usage=Usage(input_tokens=1000, output_tokens=10)))
    origin = Ledger().take(BACKEND, start("The word is heron.").finish())
    session.external_id = origin.sessions[-1].external_id

    model_server.script(Answer("Forked.", usage=Usage(input_tokens=40, output_tokens=4)))
    copy = Session(id=uuid.uuid4(), resumed_from=session)
    records = start("Another way.", session=copy, conversation_mode=ConversationMode.FORK).finish()
    fork = origin.fork().take(BACKEND, records)
    assert "The word is heron." in model_server.requests[-1].text
    assert fork.tokens == Usage(input_tokens=40, output_tokens=4)
    assert fork.cost_usd == rounded(result_of(records)["total_cost_usd"]) - (origin.cost_usd or 0) > 0
    assert [fact.external_id for fact in fork.sessions] == [str(copy.pk)]


def test_a_limit_of_the_provider_is_told_with_its_end(start: Start, model_server: ModelServer) -> None:
    model_server.script(Refusal(status=429, retry_after_seconds=1), Answer("Now it works."))
    ledger = Ledger().take(BACKEND, start().finish())
    assert ledger.activities == ["working", "rate_limited", "working", "idle"]
    limit = ledger.states[1]
    assert limit.until is not None
    assert limit.until > limit.at


def test_an_interrupt_that_nobody_asked_for_is_a_failure(start: Start, model_server: ModelServer) -> None:
    model_server.script(Hold())
    process = start()
    model_server.wait_for_requests(1)
    process.send(signal.SIGINT)
    assert Ledger().take(BACKEND, process.finish()).failures == ["interrupted"]


def test_a_spent_limit_of_the_program_is_a_failure_with_its_tokens(start: Start, model_server: ModelServer) -> None:
    model_server.otherwise = Answer("More.", shell("true"), usage=Usage(input_tokens=200_000, output_tokens=2000))
    ledger = Ledger().take(BACKEND, start(flags=["--max-budget-usd=0.01", "--allowedTools=Bash"]).finish())

    assert ledger.failures == ["Reached maximum budget ($0.01)"]
    assert ledger.tokens == model_server.usage_total


def test_a_second_attempt_of_a_new_conversation_does_not_meet_the_first(
    start: Start, model_server: ModelServer
) -> None:
    ledger = Ledger().take(BACKEND, start().finish())
    ledger.next_run().take(BACKEND, start(generation=2).finish())

    assert ledger.failures == []
    assert ledger.tokens == model_server.usage_total
    assert len({fact.external_id for fact in ledger.sessions}) == 2


def test_what_the_program_complains_of_before_it_starts_is_the_reason(start: Start, model_server: ModelServer) -> None:
    start().finish()
    ledger = Ledger().take(BACKEND, start().finish())

    assert len(ledger.failures) == 1
    assert "is already in use" in ledger.failures[0]


def test_the_program_tells_its_version(claude_code_path: str) -> None:
    assert BACKEND.version(claude_code_path).split(".")[0].isdigit()
    assert BACKEND.version("/nowhere/claude") == ""


def test_a_conversation_it_does_not_know_any_more_is_told_by_the_words_a_restart_looks_for(start: Start) -> None:
    ledger = Ledger().take(BACKEND, start("Go on.", conversation_mode=ConversationMode.RESUME).finish())

    assert len(ledger.failures) == 1
    assert BACKEND.unknown_conversation in ledger.failures[0]
