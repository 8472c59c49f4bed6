"""Read what `gemini --output-format stream-json` prints.

Seen with 0.61.0:
- An answer comes in pieces, `message` lines with `delta`; nothing marks its end.
- `result` tells the tokens of this run alone, by model. `input_tokens` holds the cached ones, `output_tokens` leaves
  out the thoughts, `total_tokens` is everything. Nothing tells a cost.
- A provider that is busy is waited for: that is told on stderr alone, in two lines.
- After SIGINT and SIGTERM it ends with code 0 and without a `result`.
- The prompt is echoed.
- Its own record of the conversation (chats/session-*.jsonl) has the tokens of each answer as soon as it is over.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from runners.backends import running_totals
from runners.backends.base import Fact, MessageFact, SessionFact, UsageFact
from runners.backends.json_lines import BUSY, Line, Reader, State, activity, now, read_lines
from runners.backends.lines import (
    CALL_ID_LENGTH,
    USAGE_KEY_LENGTH,
    count,
    digest,
    failure,
    json_object,
    key,
    mapping,
    moment,
    notice,
    storable,
    words,
)
from runners.backends.running_totals import Tokens, Total
from runners.states import Activity, Role

NAME_LENGTH = 100
#: An answer longer than this is told in several messages.
LONGEST_SAYING = 200_000
FAILED_ATTEMPT = re.compile(r"Attempt \d+ failed(: | with status )(?P<why>.{0,300})")
RETRY_IN = re.compile(r"Retrying after (?P<ms>\d{1,9})(\.\d+)?ms")
API_ERROR = re.compile(r"\[API Error: (?P<document>\{.*\})\]", re.DOTALL)


def read(record: Line, state: State) -> Iterable[Fact]:
    """Return the facts in one telemetry record."""
    if record.get("kind") == "line" and record.get("stream") == "log":
        return _recorded(record, state)
    if record.get("kind") == "started":
        state["since"] = record["t"]
    facts = list(read_lines(record, state, _READERS))
    if record.get("kind") == "line" and record.get("stream") == "stderr":
        return _complaint(record, state)
    if record.get("kind") == "exit":
        return [*_say(state), *facts, *_without_result(record, state)]
    return facts


def _init(record: Line, line: Line, state: State) -> Iterable[Fact]:
    session = words(line.get("session_id"))[:NAME_LENGTH]
    model = words(line.get("model"))[:NAME_LENGTH]
    if model:
        state["model"] = model
    known, state["conversation"] = state.get("conversation"), session
    told = [SessionFact(external_id=session)] if session and session != known else []
    return [*told, *now(record, state, Activity.WORKING)]


def _message(record: Line, line: Line, state: State) -> Iterable[Fact]:
    if line.get("role") != "assistant":
        return ()
    saying = state.setdefault("saying", {"text": "", "t": record["t"], "stamp": words(line.get("timestamp"))})
    saying["text"] += words(line.get("content"))
    facts: list[Fact] = [*now(record, state, Activity.WORKING)]
    if line.get("delta") is not True or len(saying["text"]) > LONGEST_SAYING:
        facts += _say(state)
    return facts


def _say(state: State) -> list[Fact]:
    """Return the answer that was put together up to now, which nothing else tells to be at its end."""
    saying = state.pop("saying", None)
    if not saying or not saying["text"].strip():
        return []
    said = key("said", state.get("attempt", ""), saying["stamp"], digest(saying["text"]))
    return [MessageFact(key=said, role=Role.ASSISTANT, text=saying["text"], at=moment(saying))]


def _tool_use(record: Line, line: Line, state: State) -> Iterable[Fact]:
    call, tool = words(line.get("tool_id")), words(line.get("tool_name"))[:NAME_LENGTH]
    state.setdefault("tools", {})[call] = tool
    used = MessageFact(
        key=key("call", state.get("attempt", ""), call),
        role=Role.ASSISTANT,
        tool_name=tool,
        tool_input=storable(line.get("parameters")),
        call_id=key("call", state.get("attempt", ""), call, length=CALL_ID_LENGTH),
        at=moment(record),
    )
    return [*_say(state), *now(record, state, Activity.WORKING), used]


def _tool_result(record: Line, line: Line, state: State) -> Iterable[Fact]:
    call = words(line.get("tool_id"))
    result = MessageFact(
        key=key("result", state.get("attempt", ""), call),
        role=Role.TOOL,
        tool_name=state.get("tools", {}).pop(call, ""),
        text=words(line.get("output")) or words(mapping(line.get("error")).get("message")),
        is_error=line.get("status") == "error",
        call_id=key("call", state.get("attempt", ""), call, length=CALL_ID_LENGTH),
        at=moment(record),
    )
    return [*_say(state), result]


def _error(record: Line, line: Line, state: State) -> Iterable[Fact]:
    text = _sentence(line.get("message"))
    told = key("error", state.get("attempt", ""), words(line.get("timestamp")), digest(text))
    return [*_say(state), notice(record, told, text, is_error=line.get("severity") != "warning")]


def _result(record: Line, line: Line, state: State) -> Iterable[Fact]:
    state["ended"] = True
    facts = [*_say(state), *_used(record, line, state)]
    error = mapping(line.get("error"))
    if _status(error.get("message")) in BUSY:
        facts += now(record, state, Activity.RATE_LIMITED, note=_sentence(error.get("message")))
    elif activity(state) != Activity.RATE_LIMITED:
        facts += now(record, state, Activity.IDLE)
    if line.get("status") == "error" and not state.get("stopping"):
        facts.append(failure(_sentence(error.get("message")) or words(error.get("type")) or "It ended with an error."))
    return facts


def _used(record: Line, line: Line, state: State) -> list[Fact]:
    """Enter what the totals of this run add to what its own record told already."""
    models = mapping(mapping(line.get("stats")).get("models"))
    told = {
        words(name)[:NAME_LENGTH]: Total(_tokens(stats, "input_tokens", "total_tokens"))
        for name, stats in models.items()
    }
    running_totals.begin(state, _run(state))
    return [
        _usage(
            record,
            state,
            key("result", _run(state), difference.model, length=USAGE_KEY_LENGTH),
            difference.model,
            difference.tokens,
        )
        for difference in running_totals.settle(state, told, None)
    ]


def _recorded(record: Line, state: State) -> Iterable[Fact]:
    """Take an answer's tokens from the program's own record, where they stand before the run is over.

    A resumed conversation may be recorded anew: what was said before this run began was counted then.
    """
    line = json_object(str(record.get("text", ""))) or {}
    if line.get("type") != "gemini" or state.get("ended") or _time(line.get("timestamp")) < state.get("since", 0.0):
        return ()
    answer, model = words(line.get("id")) or digest(str(record.get("text"))), words(line.get("model"))[:NAME_LENGTH]
    running_totals.begin(state, _run(state))
    new = running_totals.answer_used(state, answer, model, _tokens(line.get("tokens"), "input", "total"))
    if new is None:
        return ()
    gained, so_far = new
    identity = key("usage", answer, ".".join(map(str, so_far)), length=USAGE_KEY_LENGTH)
    return [_usage(record, state, identity, model, gained)]


def _run(state: State) -> str:
    return f"run {state.get('attempt', '')}"


def _tokens(usage: Any, prompt_name: str, total_name: str) -> Tokens:
    prompt = count(mapping(usage).get(prompt_name))
    cached = min(count(mapping(usage).get("cached")), prompt)
    return prompt - cached, max(count(mapping(usage).get(total_name)) - prompt, 0), cached, 0


def _usage(record: Line, state: State, identity: str, model: str, tokens: Tokens) -> UsageFact:
    return UsageFact(
        key=identity,
        model=model,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cache_read_tokens=tokens[2],
        stretch=words(state.get("attempt"))[:NAME_LENGTH],
        at=moment(record),
    )


def _time(stamp: Any) -> float:
    try:
        return datetime.fromisoformat(words(stamp)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _complaint(record: Line, state: State) -> Iterable[Fact]:
    """Take in what stderr tells of a provider that is busy."""
    text = words(record.get("text"))
    if failed := FAILED_ATTEMPT.search(text):
        told = key("retry", state.get("attempt", ""), str(record["t"]))
        note = f"The provider failed: {failed['why']}"
        return [notice(record, told, note, is_error=True), *now(record, state, Activity.RATE_LIMITED, note=note)]
    wait = RETRY_IN.search(text)
    if wait and activity(state) == Activity.RATE_LIMITED:
        until = moment(record) + timedelta(milliseconds=int(wait["ms"]))
        return now(record, state, Activity.RATE_LIMITED, until=until, note=state["activity"][2])
    return ()


def _without_result(record: Line, state: State) -> Iterable[Fact]:
    if record.get("code") != 0 or state.get("ended") or state.get("stopping") or not state.get("attempt"):
        return ()
    return [failure("It ended without telling a result.")]


def _sentence(message: Any) -> str:
    """Return the words of an error; the document of the provider's that is often in it gives its own."""
    text = words(message)
    return words(_document(text).get("message")) or text


def _status(message: Any) -> int:
    return count(_document(words(message)).get("code"))


def _document(text: str) -> Line:
    found = API_ERROR.search(text)
    return mapping((json_object(found["document"]) or {}).get("error")) if found else {}


_READERS: dict[str, Reader] = {
    "error": _error,
    "init": _init,
    "message": _message,
    "result": _result,
    "tool_result": _tool_result,
    "tool_use": _tool_use,
}
