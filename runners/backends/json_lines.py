"""Read a program that prints one JSON object a line: what all such programs have in common.

In `state`: lines that are no objects are counted in "unparsed", objects of a type that nobody knows in "unknown". Both
stay whole in the telemetry and the transcript.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from runners.backends.base import Fact, StateFact
from runners.backends.lines import failure, json_object, moment, words
from runners.states import Activity

Line = Mapping[str, Any]
State = dict[str, Any]
#: Of one type of line: takes the telemetry record, the line in it, and the parser's memory.
Reader = Callable[[Line, Line, State], Iterable[Fact]]

#: HTTP statuses with which a provider says: not now. 529 is Anthropic's "overloaded".
BUSY = (429, 503, 529)
#: What paints a word on a terminal.
COLOUR = re.compile("\x1b\\[[0-9;]*m")
#: What belongs to one attempt alone.
OF_AN_ATTEMPT = ("activity", "asked", "ended", "stderr", "stopping")


def read_lines(record: Line, state: State, readers: Mapping[str, Reader]) -> Iterable[Fact]:
    """Return the facts in one telemetry record, its lines read by `readers` by their type."""
    match record.get("kind"):
        case "started":
            begin_attempt(record, state)
        case "stopping":
            state["stopping"] = True
        case "exit":
            return _exit(record, state)
        case "line" if record.get("stream") == "stdout":
            return read_line(record, state, readers)
        case "line" if record.get("stream") == "stderr":
            text = COLOUR.sub("", words(record.get("text")))
            state["stderr"] = text.strip()[:500] or state.get("stderr", "")
    return ()


def read_line(record: Line, state: State, readers: Mapping[str, Reader]) -> Iterable[Fact]:
    """Return the facts in the line of a record."""
    text = str(record.get("text", ""))
    if not text.strip():
        return ()
    line = json_object(text)
    if line is None:
        state["unparsed"] = state.get("unparsed", 0) + 1
        return ()
    reader = readers.get(str(line.get("type")))
    if reader is None:
        state["unknown"] = state.get("unknown", 0) + 1
        return ()
    return reader(record, line, state)


def now(
    record: Line, state: State, activity: Activity, *, until: datetime | None = None, note: str = ""
) -> list[StateFact]:
    """Return that the program is about `activity` now, if that is new."""
    told = [activity, until.isoformat() if until else None, note]
    if state.get("activity") == told:
        return []
    state["activity"] = told
    return [StateFact(activity=activity, until=until, note=" ".join(words(note).split())[:200], at=moment(record))]


def activity(state: State) -> str:
    """Return what the program was last said to be about."""
    return str(state.get("activity", [""])[0])


def begin_attempt(record: Line, state: State) -> None:
    """Forget what belongs to the last attempt alone."""
    attempt = f"{record.get('pid')}.{record.get('start_ticks')}"
    if state.get("attempt") != attempt:
        for name in OF_AN_ATTEMPT:
            state.pop(name, None)
        state["attempt"] = attempt


def _exit(record: Line, state: State) -> Iterable[Fact]:
    """Say what the program complained of if it ended badly before it could tell a result."""
    if not record.get("code") or state.get("ended") or state.get("stopping") or not state.get("stderr"):
        return ()
    return [failure(state["stderr"])]
