"""Keep rows of messages small: of what is longer the beginning is in the row, and where the whole stands."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from runners.backends.base import Fact, MessageFact, RecordPlace

#: Characters of a text, and of all texts of a tool's input, that a row holds: what search goes through as well.
LONGEST = 200_000


def shortened(facts: Iterable[Fact], place: RecordPlace | None) -> Iterator[Fact]:
    """Yield the facts of a record, long messages among them with the beginning of what they say."""
    for fact in facts:
        yield _shortened(fact, place) if isinstance(fact, MessageFact) and place is not None else fact


def _shortened(fact: MessageFact, place: RecordPlace) -> MessageFact:
    tool_input, more = fact.tool_input, max(0, len(fact.text) - LONGEST)
    if isinstance(tool_input, dict | list):
        room = [LONGEST]
        tool_input = _cut(tool_input, room)
        more += max(0, -room[0])
    if not more:
        return fact
    return replace(fact, text=fact.text[:LONGEST], tool_input=tool_input, more_characters=more, place=place)


def _cut(value: Any, room: list[int]) -> Any:
    """Return the value with its texts cut where there is no room; `room` says in the end what was left or lacking."""
    match value:
        case str():
            kept = value[: max(0, room[0])]
            room[0] -= len(value)
            return kept
        case dict():
            return {name: _cut(item, room) for name, item in value.items()}
        case list():
            return [_cut(item, room) for item in value]
    return value
