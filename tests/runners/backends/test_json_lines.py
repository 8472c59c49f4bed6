"""What the parsers of all programs that print JSON lines have in common: nothing that is printed is an error."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.backends.base import Backend
from runners.backends.claude_code import ClaudeCodeBackend
from runners.backends.codex import CodexBackend
from runners.backends.gemini import GeminiBackend
from runners.backends.opencode import OpenCodeBackend
from tests.runners.backends.telemetry import Ledger, Record

BACKENDS: list[Backend] = [ClaudeCodeBackend(), CodexBackend(), GeminiBackend(), OpenCodeBackend()]
each_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
#: Every type of line and of item that a parser looks for, and one that nobody knows.
TYPES = (
    "assistant", "result", "stream_event", "system", "user", "rate_limit_event",
    "thread.started", "turn.started", "turn.completed", "turn.failed", "item.started", "item.completed", "error",
    "init", "message", "tool_use", "tool_result", "step_start", "step_finish", "text", "reasoning",
    "agent_message", "command_execution", "file_change", "mcp_tool_call", "todo_list", "web_search",
    "a type of tomorrow",
)  # fmt: skip
NAMES = (
    "item", "usage", "message", "part", "tokens", "cache", "stats", "models", "error", "data", "state", "thread_id",
    "session_id", "sessionID", "id", "text", "command", "changes", "items", "status", "cost", "rate_limit_info",
    "content", "delta", "role", "tool_id", "tool_name", "parameters", "output", "responseHeaders", "statusCode",
)  # fmt: skip
LEAVES = st.sampled_from(TYPES) | JSON
INNER = st.dictionaries(st.sampled_from((*NAMES, "type")), LEAVES, max_size=6)
LINES = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={name: LEAVES | INNER | st.lists(INNER, max_size=2) for name in NAMES},
)


def line(text: str, at: float = 1.0) -> Record:
    return {"t": at, "kind": "line", "stream": "stdout", "text": text}


@each_backend
@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=4))
def test_no_line_however_odd_is_an_error(backend: Backend, lines: list[dict[str, Any]]) -> None:
    started: Record = {"t": 0.5, "kind": "started", "pid": 1, "start_ticks": 2}
    ledger = Ledger().take(backend, [started, *(line(json.dumps(each)) for each in lines)])
    for message in ledger.messages.values():
        assert len(message.key) <= 120
        message.text.encode()
        json.dumps(message.tool_input, allow_nan=False)
    for key, usage in ledger.usage.items():
        assert len(key) <= 160
        assert usage.cost_usd is None or usage.cost_usd >= 0
    assert all(len(fact.external_id) <= 100 for fact in ledger.sessions)
    assert all(len(fact.note) <= 200 for fact in ledger.states)


@each_backend
def test_lines_that_nobody_understands_are_counted(backend: Backend) -> None:
    odd = ["not json", "[1]", "5", "[" * 100_000, ""]
    ledger = Ledger().take(backend, [*map(line, odd), line('{"type":"a type of tomorrow"}')])
    assert ledger.state["unparsed"] == 4
    assert ledger.state["unknown"] == 1


@each_backend
@pytest.mark.parametrize(("code", "asked", "failures"), [(1, False, ["no such option"]), (1, True, []), (0, True, [])])
def test_a_complaint_counts_only_if_the_program_ended_badly_by_itself(
    backend: Backend, code: int, asked: bool, failures: list[str]
) -> None:
    complaint = {"t": 1.0, "kind": "line", "stream": "stderr", "text": "no such option"}
    stopping: list[Record] = [{"t": 2.0, "kind": "stopping", "reason": ""}] if asked else []
    records = [complaint, *stopping, {"t": 3.0, "kind": "exit", "code": code, "signal": None}]
    assert Ledger().take(backend, records).failures == failures
