"""Read what `claude -p --output-format stream-json --verbose --include-partial-messages` prints.

Seen with 2.1.330:
- One `assistant` line for each content block; those of one answer share `message.id` and show its usage as it stood at
  the answer's first event (1 output token). The final usage of an answer is in the stream event `message_delta`.
- `result` tells `modelUsage` and `total_cost_usd` over the whole conversation, with what earlier runs used if it was
  resumed. A run that ended by SIGINT or SIGTERM is in it, one that ended by SIGKILL is not.
- A `result` of subtype `success` may have `is_error`; after SIGINT the exit code is 0 and the subtype an error.
- A line's `uuid` is also that of its line in the program's record: `--resume-session-at` goes on from there.
- The prompt is not echoed: text in a `user` line is the program's own ("[Request interrupted by user]").
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from runners.backends import claude_approvals, running_totals
from runners.backends.base import Fact, MessageFact, SessionFact, UsageFact
from runners.backends.json_lines import BUSY, Line, Reader, State, activity, now, read_lines
from runners.backends.lines import (
    CALL_ID_LENGTH,
    USAGE_KEY_LENGTH,
    count,
    digest,
    dollars,
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

#: Pieces of an answer, of which the whole comes by itself: nearly all lines, passed over without parsing them.
PIECE = '{"type":"stream_event","event":{"type":"content_block'
#: A result is read once; the same may come again only soon after.
RESULTS_REMEMBERED = 16
#: Answers that stream at the same time: the main one and those of subagents.
STREAMS_REMEMBERED = 16
NAME_LENGTH = 100
#: Beyond the year 9000 nobody waits, and no clock counts.
LAST_SECOND = 221_845_392_000


def read(record: Line, state: State) -> Iterable[Fact]:
    """Return the facts in one telemetry record."""
    if str(record.get("text", "")).startswith(PIECE) and record.get("kind") == "line":
        return ()
    if record.get("kind") == "given":
        return claude_approvals.settled(record, state, record.get("once"))
    return read_lines(record, state, _READERS)


def _conversation(line: Line, state: State) -> Iterable[Fact]:
    """Notice which conversation a line belongs to."""
    known = state.get("conversation", "")
    conversation = words(line.get("session_id"))[:NAME_LENGTH] or known
    state["conversation"] = conversation
    running_totals.begin(state, conversation)
    return [] if conversation == known else [SessionFact(external_id=conversation)]


def _system(record: Line, line: Line, state: State) -> Iterable[Fact]:
    match line.get("subtype"):
        case "init":
            state["model"] = _model_name(line.get("model"))
            return [*_conversation(line, state), *now(record, state, Activity.WORKING)]
        case "api_retry":
            return [
                notice(record, _own_key(record, line), _retry(line), is_error=True),
                *_must_wait(record, line, state),
            ]
        case "compact_boundary":
            return [
                notice(record, _own_key(record, line), "The conversation was compacted to fit the model's context.")
            ]
    return ()


def _retry(line: Line) -> str:
    seconds = count(line.get("retry_delay_ms")) / 1000
    why = " ".join(str(line[name]) for name in ("error_status", "error") if line.get(name)) or "no answer"
    return f"The provider failed ({why}); try {line.get('attempt')} of {line.get('max_retries')} in {seconds:.1f} s."


def _must_wait(record: Line, line: Line, state: State) -> Iterable[Fact]:
    if line.get("error_status") not in BUSY:
        return []
    until = moment(record) + timedelta(milliseconds=count(line.get("retry_delay_ms")))
    return now(record, state, Activity.RATE_LIMITED, until=until, note=_retry(line))


def _rate_limit(record: Line, line: Line, state: State) -> Iterable[Fact]:
    """Take in that a subscription's limit is reached; short of that the line is a warning, or no news."""
    info = mapping(line.get("rate_limit_info"))
    if info.get("status") != "rejected":
        return ()
    resets = count(info.get("resetsAt"))
    until = datetime.fromtimestamp(resets, UTC) if 0 < resets < LAST_SECOND else None
    limit = words(info.get("rateLimitType")).replace("_", " ") or "unnamed"
    return now(record, state, Activity.RATE_LIMITED, until=until, note=f"The {limit} limit is reached.")


def _nothing(record: Line, line: Line, state: State) -> Iterable[Fact]:
    """Pass over a line that tells nothing we keep."""
    return ()


def assistant(record: Line, line: Line, state: State) -> Iterable[Fact]:
    """Return what one line of an answer tells: what was said and done, and its tokens."""
    message = mapping(line.get("message"))
    answer = words(message.get("id")) or _own_id(record, line)
    facts = list(_conversation(line, state))
    if not line.get("error"):
        facts += now(record, state, Activity.WORKING)
    elif line.get("error") == "rate_limit" and activity(state) != Activity.RATE_LIMITED:
        facts += now(record, state, Activity.RATE_LIMITED, note=_result_text(message.get("content")))
    for block in objects(message.get("content")):
        facts += _said(record, line, answer, block, state)
    return facts + _used(record, state, answer, message.get("model"), message.get("usage"))


def _said(record: Line, line: Line, answer: str, block: Line, state: State) -> list[Fact]:
    """Return one content block as a message. Thinking is left to the transcript: it is neither said nor done."""
    text = words(block.get("text"))
    if block.get("type") == "text" and text.strip():
        said = MessageFact(
            key=key(answer, "text", digest(text)),
            role=Role.ASSISTANT,
            text=text,
            is_error=bool(line.get("error")),
            anchor=_anchor(line),
            at=moment(record),
        )
        return [said]
    if block.get("type") not in {"tool_use", "server_tool_use"}:
        return []
    tool, call = words(block.get("name"))[:NAME_LENGTH], words(block.get("id"))
    state.setdefault("tools", {})[call] = tool
    used = MessageFact(
        key=key(answer, call),
        role=Role.ASSISTANT,
        tool_name=tool,
        tool_input=storable(block.get("input")),
        call_id=key(call, length=CALL_ID_LENGTH),
        anchor=_anchor(line),
        at=moment(record),
    )
    return [used]


def _anchor(line: Line) -> str:
    """Return the id of a line's place in the conversation; what subagents say stands in conversations of their own."""
    aside = line.get("parent_tool_use_id") or line.get("isSidechain")
    return "" if aside else words(line.get("uuid"))[:NAME_LENGTH]


def user(record: Line, line: Line, state: State) -> Iterable[Fact]:
    """Return what came back to the program: results of tools, and notes of its own."""
    facts = list(_conversation(line, state))
    for block in objects(mapping(line.get("message")).get("content")):
        if block.get("type") == "tool_result":
            facts.append(_tool_result(record, line, block, state))
        elif block.get("type") == "text" and not line.get("parent_tool_use_id"):
            facts.append(
                notice(record, key(_own_id(record, line), digest(str(block.get("text")))), block.get("text", ""))
            )
    return facts


def _tool_result(record: Line, line: Line, block: Line, state: State) -> Fact:
    call = words(block.get("tool_use_id"))
    return MessageFact(
        key=key("result", call),
        role=Role.TOOL,
        text=_result_text(block.get("content")),
        tool_name=state.get("tools", {}).pop(call, ""),
        is_error=block.get("is_error") is True,
        call_id=key(call, length=CALL_ID_LENGTH),
        anchor=_anchor(line),
        at=moment(record),
    )


def _result_text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(words(item.get("text")) or f"[{item.get('type')}]" for item in objects(content))
    return words(content)


def _stream_event(record: Line, line: Line, state: State) -> Iterable[Fact]:
    """Take an answer's tokens as soon as they are told: the prompt's when it begins, all of them when it ends."""
    event = mapping(line.get("event"))
    # Pairs, not an object: PostgreSQL does not keep the order of an object's keys.
    streaming = dict(state.get("streaming", []))
    if event.get("type") == "message_start":
        message = mapping(event.get("message"))
        answer, model = words(message.get("id")), _model_name(message.get("model"))
        streaming.pop(answer, None)
        state["streaming"] = [*streaming.items(), (answer, model)][-STREAMS_REMEMBERED:]
        facts = [*_conversation(line, state), *now(record, state, Activity.WORKING)]
        return facts + _used(record, state, answer, model, message.get("usage"))
    if event.get("type") == "message_delta" and streaming:
        # Older versions do not name the answer: then it is the one that began last.
        answer = words(line.get("api_message_id")) or [*streaming][-1]
        if answer in streaming:
            return _used(record, state, answer, streaming[answer], event.get("usage"))
    return ()


def _used(record: Line, state: State, answer: str, model: Any, usage: Any) -> list[Fact]:
    tokens = _tokens(usage, "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    name = _model_name(model)
    new = running_totals.answer_used(state, answer, name, tokens) if answer else None
    if new is None:
        return []
    gained, so_far = new
    usage_key = key("usage", answer, ".".join(map(str, so_far)), length=USAGE_KEY_LENGTH)
    return [_usage(record, usage_key, name, gained, stretch=_stretch(state))]


def _stretch(state: State) -> str:
    return words(state.get("attempt"))[:NAME_LENGTH]


def _result(record: Line, line: Line, state: State) -> Iterable[Fact]:
    facts = list(_conversation(line, state))
    identity = _own_id(record, line)
    seen = state.setdefault("results", [])
    if identity in seen:
        return facts
    state["results"] = [*seen, identity][-RESULTS_REMEMBERED:]
    state["ended"] = True
    facts += _settled(record, state, identity)
    if activity(state) != Activity.RATE_LIMITED:
        facts += now(record, state, Activity.IDLE)
    if (line.get("is_error") is True or str(line.get("subtype")).startswith("error")) and not state.get("stopping"):
        facts.append(failure(_complaint(line)))
    return facts


def _settled(record: Line, state: State, identity: str) -> Iterable[Fact]:
    # Read again, as decimals: money is never a float.
    line = json_object(str(record["text"]), parse_float=Decimal) or {}
    return settled(record, state, identity, line.get("modelUsage"), line.get("total_cost_usd"))


def settled(record: Line, state: State, identity: str, models: Any, cost_usd: Any) -> list[Fact]:
    """Return what a total over the whole conversation adds to what was seen; amounts come as decimals."""
    if not isinstance(models, dict):
        return []
    told: dict[str, Total] = {}
    for name, entry in models.items():
        tokens = _tokens(entry, "inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
        told[_model_name(name)] = Total(tokens, dollars(mapping(entry).get("costUSD")))
    return [
        _usage(
            record,
            key("result", identity, difference.model, length=USAGE_KEY_LENGTH),
            difference.model or state.get("model", ""),
            difference.tokens,
            cost_usd=difference.cost_usd,
            settles=difference.settles,
            stretch=_stretch(state),
            covers=difference.covers,
            covers_all_models=difference.last,
        )
        for difference in running_totals.settle(state, told, dollars(cost_usd))
    ]


def _complaint(line: Line) -> str:
    if str(line.get("terminal_reason")).startswith("aborted"):
        return "interrupted"
    errors = [str(error) for error in line["errors"]] if isinstance(line.get("errors"), list) else []
    return "; ".join(errors) or words(line.get("result")) or str(line.get("subtype"))


def _usage(record: Line, usage_key: str, model: str, tokens: Tokens, **more: Any) -> UsageFact:
    return UsageFact(
        key=usage_key,
        model=model,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        cache_read_tokens=tokens[2],
        cache_write_tokens=tokens[3],
        at=moment(record),
        **more,
    )


def _tokens(usage: Any, *names: str) -> Tokens:
    first, second, third, fourth = (count(mapping(usage).get(name)) for name in names)
    return first, second, third, fourth


def _model_name(name: Any) -> str:
    """Return a model's name without the size of its context: `modelUsage` has it, the answers have not."""
    return words(name).partition("[")[0][:NAME_LENGTH]


def _own_id(record: Line, line: Line) -> str:
    return words(line.get("uuid")) or digest(str(record.get("text")))


def _own_key(record: Line, line: Line) -> str:
    return key(str(line.get("type")), _own_id(record, line))


_READERS: dict[str, Reader] = {
    "assistant": assistant,
    "auth_status": _nothing,
    "control_cancel_request": claude_approvals.control_cancel,
    "control_request": claude_approvals.control_request,
    "rate_limit_event": _rate_limit,
    "result": _result,
    "stream_event": _stream_event,
    "system": _system,
    "tool_progress": _nothing,
    "tool_use_summary": _nothing,
    "user": user,
}
