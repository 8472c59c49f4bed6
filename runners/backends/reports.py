"""Reports: what any program may tell by writing JSON lines to the pipe named in STRATAVORE_REPORT.

One object a line, under 4096 bytes so that lines of several writers do not mix (PIPE_BUF, pipe(7)):

    {"type": "message", "id": "3", "role": "assistant", "text": "Done.", "tool_name": "", "tool_input": null,
     "is_error": false, "call_id": ""}
    {"type": "usage", "id": "u3", "model": "demo-1", "input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 0,
     "cache_write_tokens": 0, "cost_usd": "0.0012"}
    {"type": "session", "id": "conversation-7", "title": "Tidy up the notes"}
    {"type": "failure", "reason": "There was nothing to do."}

The use of a tool and its result have the same `call_id`, of the run's own choice. `id` makes a report count once
however often the run repeats it; without one its time and content stand for it. Usage is the difference since the last
report, and its cost is left out where it is not known. Anything else is counted in `state["unparsed"]` and otherwise
ignored.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from runners.backends.base import Fact, MessageFact, SessionFact, UsageFact
from runners.backends.lines import (
    CALL_ID_LENGTH,
    USAGE_KEY_LENGTH,
    count,
    digest,
    dollars,
    failure,
    key,
    moment,
    storable,
    words,
)
from runners.states import Role

#: models.Session.external_id and models.Message.tool_name hold this much.
NAME_LENGTH = 100


def read_report(record: Mapping[str, Any], state: dict[str, Any]) -> Iterable[Fact]:
    """Return the facts in a telemetry record of kind `report`; of any other kind, none."""
    if record.get("kind") == "started":
        # A session may have several attempts, and each may begin to count its ids anew.
        state["attempt"] = f"{record.get('pid')}.{record.get('start_ticks')}"
    if record.get("kind") != "report":
        return ()
    data = record.get("data")
    reader = _READERS.get(str(data.get("type"))) if isinstance(data, dict) else None
    if reader is None or not isinstance(data, dict):
        state["unparsed"] = state.get("unparsed", 0) + 1
        return ()
    return [reader(record, {**data, "attempt": state.get("attempt", "")}, _identity(record, data, state))]


def _identity(record: Mapping[str, Any], data: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    own = data.get("id")
    if isinstance(own, str | int):
        return f"{state.get('attempt', '')}:{own}"
    return digest(f"{record['t']} {json.dumps(data, sort_keys=True)}")


def _message(record: Mapping[str, Any], data: Mapping[str, Any], identity: str) -> Fact:
    role = str(data.get("role", ""))
    return MessageFact(
        key=key("report", identity),
        role=Role(role) if role in Role.values else Role.SYSTEM,
        text=words(data.get("text")),
        tool_name=words(data.get("tool_name"))[:NAME_LENGTH],
        tool_input=storable(data.get("tool_input")),
        is_error=data.get("is_error") is True,
        call_id=_call_id(data),
        at=moment(record),
    )


def _call_id(data: Mapping[str, Any]) -> str:
    own = data.get("call_id")
    return key("report", str(data["attempt"]), str(own), length=CALL_ID_LENGTH) if isinstance(own, str | int) else ""


def _usage(record: Mapping[str, Any], data: Mapping[str, Any], identity: str) -> Fact:
    return UsageFact(
        key=key("report", identity, length=USAGE_KEY_LENGTH),
        model=words(data.get("model"))[:NAME_LENGTH],
        input_tokens=count(data.get("input_tokens")),
        output_tokens=count(data.get("output_tokens")),
        cache_read_tokens=count(data.get("cache_read_tokens")),
        cache_write_tokens=count(data.get("cache_write_tokens")),
        cost_usd=dollars(data.get("cost_usd")),
        at=moment(record),
    )


def _session(record: Mapping[str, Any], data: Mapping[str, Any], identity: str) -> Fact:
    return SessionFact(external_id=words(data.get("id"))[:NAME_LENGTH], title=words(data.get("title"))[:200])


def _failure(record: Mapping[str, Any], data: Mapping[str, Any], identity: str) -> Fact:
    return failure(words(data.get("reason")) or "The program reported a failure.")


_READERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], str], Fact]] = {
    "message": _message,
    "usage": _usage,
    "session": _session,
    "failure": _failure,
}
