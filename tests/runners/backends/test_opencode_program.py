"""The real OpenCode CLI, run as the backend says, talking to a fake model provider on loopback."""

import json
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from runners.backends.opencode import OpenCodeBackend
from runners.models import Session
from runners.states import ConversationMode
from tests.fake_models import Answer, Cut, Hold, ModelServer, Refusal, Text, ToolCall, Usage
from tests.runners.backends.runs import Runs

pytestmark = pytest.mark.opencode

BACKEND = OpenCodeBackend()
#: USD per million tokens.
PRICES = {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75}
RESUME: dict[str, Any] = {"conversation_mode": ConversationMode.RESUME}


def provider(url: str) -> str:
    """Return a configuration that knows the fake provider alone."""
    model = {"tool_call": True, "limit": {"context": 200_000, "output": 8192}}
    fake = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{url}/v1", "apiKey": "not-a-key"},
        "models": {"fake-1": {**model, "cost": PRICES}, "unpriced": model},
    }
    return json.dumps({"provider": {"fake": fake}})


@pytest.fixture
def runs(opencode_path: str, model_server: ModelServer, session: Session, worktree: Path, home: Path) -> Iterator[Runs]:
    runs = Runs(BACKEND, opencode_path, session, worktree=worktree, home=home, model="fake/fake-1")
    runs.environment |= {
        "OPENCODE_CONFIG_CONTENT": provider(model_server.url),
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
    }
    yield runs
    runs.close()


def shell(command: str) -> ToolCall:
    return ToolCall("bash", {"command": command, "description": "Do it"})


def priced(usage: Usage) -> Decimal:
    tokens = usage.input_tokens * 3 + usage.output_tokens * 15 + usage.cache_read_tokens * Decimal("0.3")
    return (tokens / 1_000_000).quantize(Decimal("0.00000001"))


def test_a_run_becomes_messages_tokens_and_cost_and_changes_the_workspace(
    runs: Runs, model_server: ModelServer, worktree: Path
) -> None:
    call = shell("echo made by a tool > made.txt; cat made.txt")
    model_server.script(
        Answer(
            Text("I will make it."),
            call,
            usage=Usage(input_tokens=10, output_tokens=50, cache_read_tokens=1000, reasoning_tokens=20),
        ),
        Answer("It is made.", usage=Usage(input_tokens=5, output_tokens=7, cache_read_tokens=1300)),
    )
    prompt = "Please make a file.\n" + "Long prompts go through. " * 10_000
    ledger = runs.run(prompt)

    assert (worktree / "made.txt").read_text() == "made by a tool\n"
    assert "Long prompts go through. " * 10_000 in model_server.requests[0].text
    assert ledger.said() == [
        ("assistant", "", "I will make it."),
        ("assistant", "bash", ""),
        ("tool", "bash", "made by a tool\n"),
        ("assistant", "", "It is made."),
    ]
    assert [m.tool_input for m in ledger.messages.values() if m.tool_input] == [dict(call.input)]
    total = Usage(input_tokens=15, output_tokens=57, cache_read_tokens=2300)
    assert ledger.tokens_by_model == {"fake-1": total}
    assert ledger.cost_usd == priced(total)
    assert len(model_server.requests) == 2, "no other model was asked for a title"
    assert len(ledger.sessions) == 1
    assert ledger.failures == []
    assert ledger.activities == ["working", "idle"]
    assert "unparsed" not in ledger.state
    assert "unknown" not in ledger.state


def test_what_was_said_tells_what_its_answer_used(runs: Runs, model_server: ModelServer) -> None:
    first, second = Usage(input_tokens=10, output_tokens=50), Usage(input_tokens=5, output_tokens=7)
    model_server.script(
        Answer(Text("I will look."), shell("echo seen"), usage=first), Answer("I have seen it.", usage=second)
    )
    ledger = runs.run()
    assert [role for role, _, _ in ledger.said()] == ["assistant", "assistant", "tool", "assistant"]
    assert ledger.tokens_of_answers(BACKEND) == [first, first, Usage(), second]


def test_a_model_without_a_price_costs_nobody_knows_what(runs: Runs) -> None:
    ledger = runs.run(model="fake/unpriced")
    assert ledger.tokens != Usage()
    assert ledger.cost_usd is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_midway_keeps_every_token_and_resuming_counts_none_twice(
    runs: Runs, model_server: ModelServer, how: signal.Signals
) -> None:
    model_server.script(Answer("Hello.", usage=Usage(input_tokens=1000, output_tokens=10)))
    ledger = runs.run("The word is heron.")

    model_server.script(Answer("Working.", shell("true"), usage=Usage(input_tokens=200, output_tokens=20)), Hold())
    process = runs.start("Go on.", **RESUME)
    model_server.wait_for_requests(3)
    process.wait_for('"type":"step_finish"')
    process.send(how, as_stop=True)
    ledger.next_run().take(BACKEND, process.finish())
    assert ("assistant", "", "Working.") in ledger.said()
    assert ledger.tokens == model_server.usage_total
    assert ledger.failures == [], "it was asked to stop"

    model_server.script(Answer("Heron.", usage=Usage(input_tokens=30, output_tokens=3)))
    ledger.next_run().take(BACKEND, runs.start("What was the word?", **RESUME).finish())
    assert "The word is heron." in model_server.requests[-1].text
    assert ledger.tokens == model_server.usage_total == Usage(input_tokens=1230, output_tokens=33)
    assert ledger.cost_usd == priced(ledger.tokens)
    assert len({fact.external_id for fact in ledger.sessions}) == 1


def test_a_fork_knows_what_was_said_and_pays_only_for_itself(runs: Runs, model_server: ModelServer) -> None:
    model_server.script(Answer("Hello.", usage=Usage(input_tokens=1000, output_tokens=10)))
    runs.run("The word is heron.")
    origin = runs.session

    model_server.script(Answer("Forked.", usage=Usage(input_tokens=40, output_tokens=4)))
    runs.session = Session(resumed_from=origin)
    ledger = runs.run("Another way.", conversation_mode=ConversationMode.FORK)
    assert "The word is heron." in model_server.requests[-1].text
    assert ledger.tokens == Usage(input_tokens=40, output_tokens=4)
    assert runs.session.external_id != origin.external_id


def test_a_refused_key_is_a_failure_that_says_so(runs: Runs, model_server: ModelServer) -> None:
    model_server.otherwise = Refusal(status=401, message="Incorrect API key provided.")
    ledger = runs.run()
    assert ledger.failures == ["Incorrect API key provided."]
    assert ledger.tokens == Usage()


@pytest.mark.parametrize("status", [429, 529])
def test_a_busy_provider_is_seen_as_a_limit(runs: Runs, model_server: ModelServer, status: int) -> None:
    model_server.otherwise = Refusal(status=status, message="Not now.", retry_after_seconds=1)
    ledger = runs.ledger().take(BACKEND, runs.start().finish())

    assert ledger.failures == ["Not now."]
    limit = ledger.states[-1]
    assert limit.activity == "rate_limited"
    assert limit.until is not None
    assert (limit.until - limit.at).total_seconds() == 1


def test_an_answer_that_was_cut_off_is_asked_for_again(runs: Runs, model_server: ModelServer) -> None:
    model_server.script(Cut(Answer("Never whole."), events=2), Answer("Heard."))
    ledger = runs.run()
    assert ledger.said()[-1] == ("assistant", "", "Heard.")
    assert ledger.failures == []


def test_what_a_configuration_would_ask_about_is_rejected(
    runs: Runs, model_server: ModelServer, worktree: Path
) -> None:
    model_server.script(Answer(shell("echo x > made.txt")), Answer("It did not work."))
    ledger = runs.run(env={"OPENCODE_PERMISSION": '{"bash": "ask"}'})
    assert list(worktree.iterdir()) == []
    assert [m.is_error for m in ledger.messages.values() if m.role == "tool"] == [True]


def test_a_conversation_that_it_does_not_know_is_told_so(runs: Runs, session: Session) -> None:
    session.external_id = "ses_dfae80447ffetHzmm26DhFSOje"
    (complaint,) = runs.ledger().take(BACKEND, runs.start(**RESUME).finish()).failures
    assert BACKEND.unknown_conversation in complaint


def test_the_program_tells_its_version(opencode_path: str) -> None:
    assert BACKEND.version(opencode_path).count(".") == 2
