"""Read asciicast v2 lines that arrive in pieces."""

import json
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """The terminal was made, or became, this large."""

    columns: int
    rows: int


@dataclass(frozen=True)
class Output:
    """Text that the program wrote."""

    text: str


class CastReader:
    """Takes chunks of a recording, and gives what is in their whole lines."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, chunk: str) -> Iterator[Size | Output]:
        """Give what is in the lines completed by `chunk`.

        What is no asciicast line is passed over: a recording read from its middle may begin within one.
        """
        *lines, self._rest = (self._rest + chunk).split("\n")
        for line in lines:
            fact = _fact(line)
            if fact is not None:
                yield fact


def _fact(line: str) -> Size | Output | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    match value:
        case {"width": int(columns), "height": int(rows)}:
            return Size(columns, rows)
        case [_, "o", str(text)]:
            return Output(text)
        case [_, "r", str(size)]:
            return _size(size)
    return None


def _size(text: str) -> Size | None:
    columns, _, rows = text.partition("x")
    return Size(int(columns), int(rows)) if columns.isdecimal() and rows.isdecimal() else None
