"""The parser of Claude Code's lines: any split, repeat or crash gives the same messages and the same ledger."""

import itertools
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.backends.claude_code import ClaudeCodeBackend
from tests.fake_models import Usage
from tests.runners.backends.telemetry import Ledger, Record

BACKEND = ClaudeCodeBackend()
SESSION = "3f0c8a52-0d7e-4d0e-9a37-0a52c1d5a001"
PRICES = {"opus": Decimal("0.00000411"), "haiku[1m]": Decimal("0.00000037")}


def usage(tokens: Usage) -> dict[str, int]:
    return {
        "input_tokens": tokens.input_tokens,
        "output_tokens": tokens.output_tokens,
        "cache_read_input_tokens": tokens.cache_read_tokens,
        "cache_creation_input_tokens": tokens.cache_write_tokens,
    }


@dataclass
class Program:
    """A stand-in for the program's bookkeeping: what it prints for what the provider answered."""

    numbers: Any = field(default_factory=itertools.count)
    used: dict[str, Usage] = field(default_factory=dict)
    saved: dict[str, Usage] = field(default_factory=dict)
    attempts: int = 0

    def run(self, answers: list[tuple[str, Usage]], how: str) -> list[Record]:
        """Return the records of one run; `how` it ends: result, saved (SIGTERM) or lost (SIGKILL)."""
        self.attempts += 1
        self.used = dict(self.saved)
        records: list[Record] = [self._record(kind="started", pid=self.attempts, start_ticks=1)]
        records.append(self._line({"type": "system", "subtype": "init", "model": "opus"}))
        for model, tokens in answers:
            records += self._answer(model, tokens)
        if how != "lost":
            self.saved = dict(self.used)
        if how == "result":
            records.append(self._line({"type": "result", "subtype": "success", "is_error": False, **self._totals()}))
        return [*records, self._record(kind="exit", code=0, signal=None)]

    def _answer(self, model: str, tokens: Usage) -> list[Record]:
        self.used[model] = self.used.get(model, Usage()) + tokens
        identity = f"msg_{next(self.numbers)}"
        early = {**usage(tokens), "output_tokens": min(1, tokens.output_tokens)}
        message = {"id": identity, "model": model.partition("[")[0], "usage": early}
        blocks = [
            {"type": "text", "text": f"{identity} says"},
            {"type": "tool_use", "id": identity, "name": "Bash", "input": {}},
        ]
        start = {"type": "message_start", "message": {**message, "content": []}}
        end = {"type": "message_delta", "usage": usage(tokens)}
        result = [{"type": "tool_result", "tool_use_id": identity, "content": [{"type": "text", "text": "ok"}]}]
        return [
            self._line({"type": "stream_event", "event": start, "api_message_id": identity}),
            *(self._line({"type": "assistant", "message": {**message, "content": [block]}}) for block in blocks),
            self._line({"type": "stream_event", "event": end, "api_message_id": identity}),
            self._line({"type": "user", "message": {"role": "user", "content": result}}),
        ]

    def _totals(self) -> dict[str, Any]:
        costs = {model: float(PRICES[model] * tokens.prompt_tokens) for model, tokens in self.used.items()}
        models = {
            model: {
                "inputTokens": tokens.input_tokens,
                "outputTokens": tokens.output_tokens,
                "cacheReadInputTokens": tokens.cache_read_tokens,
                "cacheCreationInputTokens": tokens.cache_write_tokens,
                "costUSD": costs[model],
            }
            for model, tokens in self.used.items()
        }
        return {"modelUsage": models, "total_cost_usd": sum(costs.values())}

    def _line(self, line: dict[str, Any]) -> Record:
        whole = {**line, "session_id": SESSION, "uuid": f"uuid-{next(self.numbers)}"}
        return self._record(kind="line", stream="stdout", text=json.dumps(whole, separators=(",", ":")))

    def _record(self, **fields: Any) -> Record:
        return {"t": 1000.0 + next(self.numbers), **fields}


#: The parser's memory goes through JSON at every record: that is what takes the time.
quick = settings(max_examples=40, deadline=None)
counts = st.integers(0, 5000)
usages = st.builds(
    Usage, input_tokens=st.integers(1, 5000), output_tokens=counts, cache_read_tokens=counts, cache_write_tokens=counts
)
answers = st.lists(st.tuples(st.sampled_from([*PRICES]), usages), max_size=3)
runs = st.lists(st.tuples(answers, st.sampled_from(["result", "saved", "lost"])), min_size=1, max_size=4)


def played(runs: list[tuple[list[tuple[str, Usage]], str]]) -> list[list[Record]]:
    program = Program()
    return [program.run(given_answers, how) for given_answers, how in runs]


@quick
@given(runs)
def test_the_ledger_adds_up_to_what_the_provider_answered(
    played_runs: list[tuple[list[tuple[str, Usage]], str]],
) -> None:
    ledger = Ledger()
    program = Program()
    for given_answers, how in played_runs:
        ledger.next_run().take(BACKEND, program.run(given_answers, how))
    used = sum((tokens for given_answers, _ in played_runs for _, tokens in given_answers), Usage())
    assert ledger.tokens == used
    if played_runs[-1][1] == "result" and not any(how == "lost" and a for a, how in played_runs):
        expected = sum((float(PRICES[m] * t.prompt_tokens) for m, t in program.used.items()), 0.0)
        assert ledger.cost_usd == Decimal(str(expected)).quantize(Decimal("0.00000001"))


@quick
@given(runs, st.data())
def test_a_stretch_read_again_changes_nothing(
    played_runs: list[tuple[list[tuple[str, Usage]], str]], data: st.DataObject
) -> None:
    plain, again = Ledger(), Ledger()
    for records in played(played_runs):
        plain.next_run().take(BACKEND, records)
        again.next_run()
        at = 0
        for end in [*sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=3))), len(records)]:
            again.take(BACKEND, records[max(0, at - data.draw(st.integers(0, 12))) : end])
            at = end
    assert again.messages == plain.messages
    assert again.usage == plain.usage
    assert again.tokens == plain.tokens


@quick
@given(runs, st.data())
def test_a_crash_that_loses_the_parsers_memory_and_reads_the_run_from_its_start_changes_nothing(
    played_runs: list[tuple[list[tuple[str, Usage]], str]], data: st.DataObject
) -> None:
    plain, crashed = Ledger(), Ledger()
    for records in played(played_runs):
        plain.next_run().take(BACKEND, records)
        before = crashed.next_run().state
        crashed.take(BACKEND, records[: data.draw(st.integers(0, len(records)))])
        crashed.state = json.loads(json.dumps(before))
        crashed.take(BACKEND, records)
    assert crashed.messages == plain.messages
    assert crashed.usage == plain.usage


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["session_id", "uuid", "message", "event", "content", "usage", "modelUsage", "total_cost_usd", "errors", "result"]
)
TYPES = st.sampled_from(["system", "assistant", "user", "result", "stream_event", "new_kind_of_line"])
SUBTYPES = st.sampled_from(["init", "api_retry", "compact_boundary", "success", "error_during_execution"])


@quick
@given(TYPES, SUBTYPES, st.dictionaries(NAMES, JSON), st.text())
def test_no_line_however_odd_is_an_error(kind: str, subtype: str, fields: dict[str, Any], text: str) -> None:
    texts = [json.dumps({**fields, "type": kind, "subtype": subtype}), json.dumps(fields), text]
    records = [{"t": 1.0, "kind": "line", "stream": "stdout", "text": line} for line in texts]
    ledger = Ledger().take(BACKEND, records)
    for message in ledger.messages.values():
        assert len(message.key) <= 120
        message.text.encode()
    assert all(len(key) <= 160 for key in ledger.usage)


@quick
@given(st.recursive(st.text(max_size=3), lambda inner: st.lists(inner, min_size=1, max_size=2), max_leaves=4), JSON)
def test_content_blocks_of_any_shape_are_no_error(content: Any, block: Any) -> None:
    for shape in (content, [block], [{"type": "text", "text": block}], [{"type": "tool_result", "content": block}]):
        for kind in ("assistant", "user"):
            line = {"type": kind, "message": {"id": "m", "content": shape, "usage": block}}
            record = {"t": 1.0, "kind": "line", "stream": "stdout", "text": json.dumps(line)}
            Ledger().take(BACKEND, [record])


def test_lines_that_are_no_objects_are_counted() -> None:
    odd = ["not json", "[1]", "5", '"text"', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"]
    records = [{"t": 1.0, "kind": "line", "stream": "stdout", "text": text} for text in [*odd, "", '{"type":"novel"}']]
    assert Ledger().take(BACKEND, records).state["unparsed"] == len(odd)


def test_text_that_no_database_holds_is_made_storable() -> None:
    block = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"a\0": ["\ud800", 0.5, 1]}}
    line = {"type": "assistant", "message": {"id": "m", "content": [{"type": "text", "text": "a\0\ud800"}, block]}}
    record = {"t": 1.0, "kind": "line", "stream": "stdout", "text": json.dumps(line)}
    said, call = Ledger().take(BACKEND, [record]).messages.values()
    assert said.text == "a\N{REPLACEMENT CHARACTER}?"
    assert call.tool_input == {"a\N{REPLACEMENT CHARACTER}": ["?", 0.5, 1]}


@pytest.mark.parametrize(("code", "asked", "failures"), [(1, False, ["no such option"]), (1, True, []), (0, False, [])])
def test_a_complaint_counts_only_if_the_program_ended_badly_by_itself(
    code: int, asked: bool, failures: list[str]
) -> None:
    complaint = {"t": 1.0, "kind": "line", "stream": "stderr", "text": "no such option"}
    stopping: list[Record] = [{"t": 2.0, "kind": "stopping", "reason": ""}] if asked else []
    records = [complaint, *stopping, {"t": 3.0, "kind": "exit", "code": code, "signal": None}]
    assert Ledger().take(BACKEND, records).failures == failures


def test_what_the_program_does_not_count_in_the_end_is_taken_back() -> None:
    program = Program()
    records = program.run([("opus", Usage(input_tokens=10)), ("haiku[1m]", Usage(input_tokens=7))], "lost")
    del program.used["haiku[1m]"]
    program.used["opus"] = Usage(input_tokens=4)
    settled = program._line({"type": "result", "subtype": "success", **program._totals()})
    ledger = Ledger().take(BACKEND, [*records, settled])
    assert ledger.tokens_by_model == {"opus": Usage(input_tokens=4), "haiku": Usage()}


def test_a_total_without_models_settles_only_the_cost_it_tells() -> None:
    line = {"type": "result", "subtype": "success", "total_cost_usd": 0.5, "modelUsage": {}, "uuid": "u"}
    record = {"t": 1.0, "kind": "line", "stream": "stdout", "text": json.dumps(line)}
    assert Ledger().take(BACKEND, [record, record]).cost_usd == Decimal("0.5")


def test_a_success_that_is_an_error_is_a_failure() -> None:
    line = {"type": "result", "subtype": "success", "is_error": True, "result": "API Error: 500\nSorry.", "uuid": "u"}
    record = {"t": 1.0, "kind": "line", "stream": "stdout", "text": json.dumps(line)}
    assert Ledger().take(BACKEND, [record]).failures == ["API Error: 500 Sorry."]
