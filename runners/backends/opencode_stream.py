"""Read what `opencode run --format json` prints.

Seen with 1.18.33:
- Every line has the conversation's id. A tool is told when it has finished, its call and its result together.
- `step_finish` tells the tokens and the cost of one answer, whose parts all name its `messageID`; input leaves out the
  cached tokens, output the reasoning. A model for which it has no price costs 0: that is not known, not free.
- A provider that fails is tried again for up to half a minute without a word; then `error` tells its answer.
- Nothing tells the model. The prompt is not echoed.
"""

from collections.abc import Iterable
from datetime import timedelta

from runners.backends.base import Fact, MessageFact, SessionFact, UsageFact
from runners.backends.json_lines import BUSY, Line, Reader, State, activity, now, read_lines
from runners.backends.lines import (
    CALL_ID_LENGTH,
    USAGE_KEY_LENGTH,
    count,
    digest,
    dollars,
    failure,
    key,
    mapping,
    moment,
    storable,
    words,
)
from runners.states import Activity, Role

NAME_LENGTH = 100
#: Reasons of a step after which another one follows.
GOES_ON = frozenset({"tool-calls"})


def read(record: Line, state: State) -> Iterable[Fact]:
    """Return the facts in one telemetry record."""
    return read_lines(record, state, _READERS)


def _conversation(line: Line, state: State) -> list[Fact]:
    session = words(line.get("sessionID"))[:NAME_LENGTH]
    if not session or session == state.get("conversation"):
        return []
    state["conversation"] = session
    return [SessionFact(external_id=session)]


def _step_start(record: Line, line: Line, state: State) -> Iterable[Fact]:
    return [*_conversation(line, state), *now(record, state, Activity.WORKING)]


def _text(record: Line, line: Line, state: State) -> Iterable[Fact]:
    part = mapping(line.get("part"))
    text = words(part.get("text"))
    facts = [*_conversation(line, state), *now(record, state, Activity.WORKING)]
    if text.strip():
        said = key(_answer(part), _own_id(part), "text")
        facts.append(MessageFact(key=said, role=Role.ASSISTANT, text=text, at=moment(record)))
    return facts


def _tool_use(record: Line, line: Line, state: State) -> Iterable[Fact]:
    part = mapping(line.get("part"))
    done = mapping(part.get("state"))
    tool = words(part.get("tool"))[:NAME_LENGTH]
    call = MessageFact(
        key=key(_answer(part), _own_id(part), "call"),
        role=Role.ASSISTANT,
        tool_name=tool,
        tool_input=storable(done.get("input")),
        call_id=key(_own_id(part), length=CALL_ID_LENGTH),
        at=moment(record),
    )
    result = MessageFact(
        key=key("result", _own_id(part)),
        role=Role.TOOL,
        tool_name=tool,
        text=words(done.get("output")) or words(done.get("error")),
        is_error=done.get("status") == "error",
        call_id=key(_own_id(part), length=CALL_ID_LENGTH),
        at=moment(record),
    )
    return [*_conversation(line, state), *now(record, state, Activity.WORKING), call, result]


def _step_finish(record: Line, line: Line, state: State) -> Iterable[Fact]:
    part = mapping(line.get("part"))
    facts = [*_conversation(line, state), *_used(record, part, state)]
    if part.get("reason") not in GOES_ON:
        state["ended"] = True
        facts += now(record, state, Activity.IDLE)
    return facts


def _used(record: Line, part: Line, state: State) -> list[Fact]:
    tokens = mapping(part.get("tokens"))
    cache = mapping(tokens.get("cache"))
    used = UsageFact(
        key=key("usage", _answer(part), _own_id(part), length=USAGE_KEY_LENGTH),
        # provider/model: the price table and the other backends know it without the provider.
        model=words(state.get("model")).partition("/")[2][:NAME_LENGTH] or words(state.get("model"))[:NAME_LENGTH],
        input_tokens=count(tokens.get("input")),
        output_tokens=count(tokens.get("output")) + count(tokens.get("reasoning")),
        cache_read_tokens=count(cache.get("read")),
        cache_write_tokens=count(cache.get("write")),
        cost_usd=dollars(part.get("cost")) or None,
        at=moment(record),
    )
    told = used.input_tokens or used.output_tokens or used.cache_read_tokens or used.cache_write_tokens
    return [used] if told or used.cost_usd else []


def _error(record: Line, line: Line, state: State) -> Iterable[Fact]:
    state["ended"] = True
    error = mapping(line.get("error"))
    data = mapping(error.get("data"))
    said = words(data.get("message")) or words(error.get("name")) or "It ended with an error."
    facts = _conversation(line, state)
    if data.get("statusCode") in BUSY:
        seconds = words(mapping(data.get("responseHeaders")).get("retry-after"))
        wait = int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 8 else 0
        until = moment(record) + timedelta(seconds=wait) if wait else None
        facts += now(record, state, Activity.RATE_LIMITED, until=until, note=said)
    elif activity(state) != Activity.RATE_LIMITED:
        facts += now(record, state, Activity.IDLE)
    if not state.get("stopping"):
        facts.append(failure(said))
    return facts


def _answer(part: Line) -> str:
    return words(part.get("messageID"))


def _own_id(part: Line) -> str:
    return words(part.get("id")) or digest(str(part))


def _nothing(record: Line, line: Line, state: State) -> Iterable[Fact]:
    return ()


_READERS: dict[str, Reader] = {
    "done": _nothing,
    "error": _error,
    "reasoning": _nothing,
    "step_finish": _step_finish,
    "step_start": _step_start,
    "text": _text,
    "tool_use": _tool_use,
}
