"""What the backend claude_terminal accepts, builds, and reads from the conversation that the program keeps."""

import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.backends.base import LaunchRequest
from runners.backends.claude_terminal import ClaudeTerminalBackend
from runners.backends.lines import digest
from runners.exceptions import InvalidRequest
from runners.models import Runner, Session
from tests.fake_models import Usage
from tests.runners.backends.telemetry import Ledger, Record
from tests.runners.backends.test_json_lines import LINES

BACKEND = ClaudeTerminalBackend()
SESSION = Session(id=uuid.UUID("3f0c8a52-0d7e-4d0e-9a37-0a52c1d5a001"))
STARTED: Record = {"t": 1.0, "kind": "started", "pid": 1, "start_ticks": 2}
EXIT: Record = {"t": 9.0, "kind": "exit", "code": 0, "signal": None}


@pytest.mark.parametrize(
    ("field", "fields"),
    [("prompt", {"prompt": "x" * 120_001}), ("flags", {"flags": ["--max-turns=3"]}), ("model", {"model": "-x"})],
)
def test_what_it_cannot_run_is_refused(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        BACKEND.check(LaunchRequest(backend="claude_terminal", **fields))
    assert refusal.value.facts["field"] == field


def test_it_asks_before_it_acts_and_its_prompt_is_never_taken_for_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    built = BACKEND.command(Runner(session=SESSION, prompt="--dangerously", flags=["--effort=low"]), "/bin/claude")
    assert built.tty
    assert built.stdin == ""
    assert built.argv[-3:] == ["--effort=low", "--", "--dangerously"]
    assert built.argv[built.argv.index("--permission-mode") + 1] == "default"
    assert built.follow is not None
    assert built.follow.pattern == f"{tmp_path}/.claude/projects/*/{SESSION.pk}.jsonl"
    plan = BACKEND.command(Runner(session=SESSION, flags=["--permission-mode", "plan"]), "/bin/claude").argv
    assert plan.count("--permission-mode") == 1
    assert "--" not in plan


def logged(t: float = 2.0, **line: Any) -> Record:
    whole = {"sessionId": str(SESSION.pk), "uuid": uuid.uuid4().hex, **line}
    return {"t": t, "kind": "line", "stream": "log", "text": json.dumps(whole)}


def answer(identity: str, tokens: int, stop_reason: str = "end_turn", **more: Any) -> Record:
    usage = {"input_tokens": tokens, "output_tokens": 1}
    content = [{"type": "text", "text": f"{identity} says"}]
    message = {"id": identity, "model": "opus", "content": content, "usage": usage, "stop_reason": stop_reason}
    return logged(type="assistant", message=message, **more)


def cost_state(tokens: int, answers: int, cost: str) -> Record:
    models = {"opus": {"inputTokens": tokens, "outputTokens": answers, "costUSD": float(cost)}}
    return logged(type="cost-state", totalCostUSD=float(cost), modelUsage=models)


def test_a_talk_becomes_messages_states_tokens_and_at_its_end_the_cost() -> None:
    records = [
        STARTED,
        logged(type="user", message={"role": "user", "content": "Make it."}),
        answer("msg_1", 10, "tool_use"),
        logged(type="user", message={"content": [{"type": "tool_result", "tool_use_id": "t", "content": "done"}]}),
        answer("msg_2", 5),
        logged(type="user", message={"content": [{"type": "text", "text": "And now?"}]}),
        logged(type="user", isMeta=True, message={"content": "of its own"}),
        logged(type="user", message={"content": "<command-name>/cost</command-name>"}),
        cost_state(15, 2, "0.25"),
    ]
    ledger = Ledger(state={"prompt": digest("Make it.")}).take(BACKEND, records)
    assert ledger.said() == [
        ("assistant", "", "msg_1 says"),
        ("tool", "", "done"),
        ("assistant", "", "msg_2 says"),
        ("user", "", "And now?"),
    ], "what it was launched with is in the session already"
    assert ledger.activities == ["working", "idle", "working"]
    assert ledger.tokens == Usage(input_tokens=15, output_tokens=2)
    assert ledger.cost_usd is None
    ledger.take(BACKEND, [EXIT])
    assert ledger.cost_usd == Decimal("0.25")


def test_a_total_that_is_older_than_the_last_answer_takes_nothing_back() -> None:
    ledger = Ledger().take(BACKEND, [STARTED, answer("msg_1", 10), cost_state(10, 1, "0.1"), answer("msg_2", 5), EXIT])
    assert ledger.tokens == Usage(input_tokens=15, output_tokens=2)
    assert ledger.cost_usd is None


@settings(max_examples=100, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=4), st.text())
def test_no_line_however_odd_is_an_error(lines: list[dict[str, Any]], text: str) -> None:
    odd = [{"t": 2.0, "kind": "line", "stream": "log", "text": each} for each in [*map(json.dumps, lines), text]]
    Ledger().take(BACKEND, [STARTED, *odd, EXIT])
