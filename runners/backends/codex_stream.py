"""Read what `codex exec --json` prints.

Seen with 0.169.0:
- `turn.completed` tells tokens over the whole conversation, also what runs used that were killed before it; a forked
  conversation goes on from the totals of the one it was made of. Cached tokens are part of the input, reasoning is part
  of the output. Nothing tells a cost, and nothing the model.
- Ids of items begin anew with every run.
- A provider that fails is tried again after an `error` line "Reconnecting... 2/5 (...)"; when it gives up there is one
  more `error` line and `turn.failed` with the same words.
- The prompt is not echoed.
- Its own record of the conversation (rollout-*.jsonl) has the tokens of each answer (`token_usage_record`), with what
  the conversation used up to it, and the model (`turn_context`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from runners.backends import running_totals
from runners.backends.base import Fact, MessageFact, SessionFact, UsageFact
from runners.backends.json_lines import Line, Reader, State, activity, now, read_lines
from runners.backends.lines import (
    CALL_ID_LENGTH,
    MESSAGE_KEY_LENGTH,
    USAGE_KEY_LENGTH,
    count,
    digest,
    failure,
    json_object,
    key,
    mapping,
    moment,
    notice,
    objects,
    storable,
    words,
)
from runners.backends.running_totals import Tokens, Total
from runners.states import Activity, Role

NAME_LENGTH = 100
#: Parts of the program's sentences for a provider that says: not now.
BUSY_WORDS = ("429", "529", "503", "usage limit", "rate limit", "at capacity", "overloaded")
#: Totals are of all models of a conversation together.
ALL_MODELS = ""


def read(record: Line, state: State) -> Iterable[Fact]:
    """Return the facts in one telemetry record."""
    if record.get("kind") == "line" and record.get("stream") == "log":
        return _recorded(record, state)
    return read_lines(record, state, _READERS)


def _recorded(record: Line, state: State) -> Iterable[Fact]:
    """Take an answer's tokens from the program's own record, where they stand before the run is over."""
    line = json_object(str(record.get("text", ""))) or {}
    payload = mapping(line.get("payload"))
    if line.get("type") == "turn_context":
        state["model"] = words(payload.get("model"))[:NAME_LENGTH] or state.get("model", "")
    if line.get("type") != "token_usage_record" or payload.get("thread_id") != state.get("conversation"):
        return ()
    if _is_settled(_tokens(mapping(payload.get("thread_token_usage"))), state):
        return ()
    answer = words(payload.get("response_id")) or digest(str(record.get("text")))
    new = running_totals.answer_used(state, answer, ALL_MODELS, _tokens(mapping(payload.get("usage"))))
    return [_usage(record, state, key("usage", answer, length=USAGE_KEY_LENGTH), new[0])] if new else ()


def _is_settled(thread: Tokens, state: State) -> bool:
    """Say whether the total that was told last holds this answer: the record may be read after the output."""
    running_totals.begin(state, state.get("conversation", ""))
    settled = state["totals"]["models"].get(ALL_MODELS, {}).get("tokens", running_totals.NONE)
    return all(now <= before for now, before in zip(thread, settled, strict=True))


def _thread_started(record: Line, line: Line, state: State) -> Iterable[Fact]:
    thread = words(line.get("thread_id"))[:NAME_LENGTH]
    known, state["conversation"] = state.get("conversation"), thread
    running_totals.begin(state, thread)
    return [SessionFact(external_id=thread)] if thread and thread != known else []


def _turn_started(record: Line, line: Line, state: State) -> Iterable[Fact]:
    return now(record, state, Activity.WORKING)


def _item_started(record: Line, line: Line, state: State) -> Iterable[Fact]:
    item = mapping(line.get("item"))
    return [*now(record, state, Activity.WORKING), *_call(record, item, state)]


def _item_completed(record: Line, line: Line, state: State) -> Iterable[Fact]:
    item = mapping(line.get("item"))
    text = words(item.get("text"))
    match item.get("type"):
        case "agent_message" if text.strip():
            said = MessageFact(key=_key(item, state), role=Role.ASSISTANT, text=text, at=moment(record))
            return [*now(record, state, Activity.WORKING), said]
        case "error":
            return [notice(record, _key(item, state), words(item.get("message")), is_error=True)]
        case "todo_list":
            return [_todo_list(record, item, state)]
    # What was not told to begin is told with its end: its call has the same key either way.
    return [*_call(record, item, state), *_result(record, item, state)]


def _call(record: Line, item: Line, state: State) -> list[Fact]:
    """Return the use of a tool; of anything else, nothing."""
    tool, tool_input, _ = _tool(item)
    if not tool:
        return []
    call = MessageFact(
        key=_key(item, state),
        role=Role.ASSISTANT,
        tool_name=tool,
        tool_input=tool_input,
        call_id=_key(item, state, length=CALL_ID_LENGTH),
        at=moment(record),
    )
    return [call]


def _result(record: Line, item: Line, state: State) -> list[Fact]:
    tool, _, output = _tool(item)
    if not tool:
        return []
    failed = item.get("status") in {"failed", "declined"} or bool(item.get("exit_code")) or bool(item.get("error"))
    result = MessageFact(
        key=_key(item, state, "result"),
        role=Role.TOOL,
        tool_name=tool,
        text=output,
        is_error=failed,
        call_id=_key(item, state, length=CALL_ID_LENGTH),
        at=moment(record),
    )
    return [result]


def _tool(item: Line) -> tuple[str, Any, str]:
    """Return the tool of an item, its input and its output; ("", ...) if it is none."""
    match item.get("type"):
        case "command_execution":
            return "shell", {"command": words(item.get("command"))}, words(item.get("aggregated_output"))
        case "file_change":
            changes = [
                f"{words(change.get('kind'))} {words(change.get('path'))}" for change in objects(item.get("changes"))
            ]
            return "file_change", storable(item.get("changes")), "\n".join(changes)
        case "mcp_tool_call":
            name = f"{words(item.get('server'))}.{words(item.get('tool'))}"[:NAME_LENGTH]
            return name, storable(item.get("arguments")), _mcp_output(item)
        case "web_search":
            return "web_search", {"query": words(item.get("query"))}, ""
    return "", None, ""


def _mcp_output(item: Line) -> str:
    error = words(mapping(item.get("error")).get("message"))
    texts = [words(part.get("text")) for part in objects(mapping(item.get("result")).get("content"))]
    return error or "\n".join(text for text in texts if text)


def _todo_list(record: Line, item: Line, state: State) -> Fact:
    items = [
        f"[{'x' if each.get('completed') else ' '}] {words(each.get('text'))}" for each in objects(item.get("items"))
    ]
    return notice(record, _key(item, state), "\n".join(items))


def _turn_completed(record: Line, line: Line, state: State) -> Iterable[Fact]:
    state["ended"] = True
    return [*_settled(record, line, state), *now(record, state, Activity.IDLE)]


def _settled(record: Line, line: Line, state: State) -> Iterable[Fact]:
    if not isinstance(line.get("usage"), dict):
        return []
    running_totals.begin(state, state.get("conversation", ""))
    tokens = _tokens(line["usage"])
    identity = key("total", state.get("conversation", ""), ".".join(map(str, tokens)), length=USAGE_KEY_LENGTH)
    return [
        _usage(record, state, identity, difference.tokens)
        for difference in running_totals.settle(state, {ALL_MODELS: Total(tokens)}, None)
    ]


def _usage(record: Line, state: State, identity: str, tokens: Tokens) -> UsageFact:
    return UsageFact(
        key=identity,
        model=words(state.get("model"))[:NAME_LENGTH],
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cache_read_tokens=tokens[2],
        cache_write_tokens=tokens[3],
        stretch=words(state.get("attempt"))[:NAME_LENGTH],
        at=moment(record),
    )


def _tokens(usage: Mapping[str, Any]) -> Tokens:
    cached, written = count(usage.get("cached_input_tokens")), count(usage.get("cache_write_input_tokens"))
    fresh = max(count(usage.get("input_tokens")) - cached - written, 0)
    return fresh, count(usage.get("output_tokens")), cached, written


def _turn_failed(record: Line, line: Line, state: State) -> Iterable[Fact]:
    state["ended"] = True
    facts: list[Fact] = []
    if activity(state) != Activity.RATE_LIMITED:
        facts += now(record, state, Activity.IDLE)
    if not state.get("stopping"):
        facts.append(failure(_sentence(mapping(line.get("error")).get("message")) or "The turn failed."))
    return facts


def _error(record: Line, line: Line, state: State) -> Iterable[Fact]:
    text = _sentence(line.get("message"))
    told = notice(record, key("error", state.get("attempt", ""), digest(text)), text, is_error=True)
    if any(word in text.lower() for word in BUSY_WORDS):
        return [told, *now(record, state, Activity.RATE_LIMITED, note=text)]
    return [told]


def _sentence(message: Any) -> str:
    """Return the words of an error: a provider's own document is told as it came."""
    text = words(message)
    return words(mapping((json_object(text) or {}).get("error")).get("message")) or text


def _key(item: Line, state: State, *more: str, length: int = MESSAGE_KEY_LENGTH) -> str:
    return key("item", state.get("attempt", ""), words(item.get("id")) or digest(str(item)), *more, length=length)


def _nothing(record: Line, line: Line, state: State) -> Iterable[Fact]:
    return ()


_READERS: dict[str, Reader] = {
    "error": _error,
    "item.completed": _item_completed,
    "item.started": _item_started,
    "item.updated": _nothing,
    "thread.started": _thread_started,
    "turn.completed": _turn_completed,
    "turn.failed": _turn_failed,
    "turn.started": _turn_started,
}
