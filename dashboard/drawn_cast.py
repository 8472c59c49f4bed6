"""A recording drawn from messages: of a program without a terminal, which prints lines for programs, not for people."""

import json
import textwrap
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from dashboard.escapes import plain_text
from dashboard.templatetags.talk import glance
from dashboard.tool_changes import change_in
from runners.states import Role

COLUMNS, ROWS = 110, 32
#: Of one message; the conversation below has the rest.
LINES_SHOWN = 24
PRINTED_LINES = 8
BOLD, DIM, BLUE, AMBER, RED, GREEN = "1", "2", "38;5;110", "38;5;179", "38;5;203", "38;5;114"


def drawn_cast(messages: Iterable[Any], began: datetime) -> Iterator[bytes]:
    """Give an asciicast of what was said and done, each message at its time; they come with `head`, not text."""
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "timestamp": int(began.timestamp())}
    yield json.dumps(header).encode() + b"\n"
    last = 0.0
    for message in messages:
        last = max(last, (message.at - began).total_seconds())
        yield json.dumps([round(last, 3), "o", _drawn(message).replace("\n", "\r\n")]).encode() + b"\n"


def _drawn(message: Any) -> str:
    text = plain_text(message.head)
    if message.role == Role.USER:
        return f"\n{_paint('>', AMBER)} {_paint(_lines(text, LINES_SHOWN, '  ').lstrip(), BOLD)}\n"
    if message.role == Role.TOOL:
        return f"{_paint(_lines(text, PRINTED_LINES, '  │ '), RED if message.is_error else DIM)}\n"
    if message.tool_name:
        tool, asked = plain_text(message.tool_name), plain_text(glance(message.tool_input))
        return f"\n{_paint('▸', BLUE)} {_paint(tool, BOLD)} {_paint(asked, DIM)}\n{_change(message)}"
    if message.role == Role.SYSTEM:
        return f"\n{_paint(_lines(text, LINES_SHOWN, '  '), RED if message.is_error else DIM)}\n"
    return f"\n{_lines(text, LINES_SHOWN, '')}\n"


def _change(message: Any) -> str:
    patch = change_in(message.tool_name, message.tool_input)
    colours = {"add": GREEN, "del": RED, "hunk": BLUE}
    lines = [pair for file in patch.files for pair in file.lines] if patch else []
    shown = [
        _paint(f"  │ {plain_text(line)[: COLUMNS - 6]}", colours.get(kind, DIM)) for kind, line in lines[:LINES_SHOWN]
    ]
    return "".join(f"{line}\n" for line in shown)


def _lines(text: str, most: int, margin: str) -> str:
    """Return the first lines of a text, as wide as the screen."""
    text = text.strip("\n")
    lines = [
        part
        for line in text.split("\n")[: most + 1]
        for part in textwrap.wrap(line, COLUMNS - len(margin) - 1, replace_whitespace=False) or [""]
    ]
    more = [f"… {text.count(chr(10)) + 1} lines"] if len(lines) > most else []
    return "\n".join(f"{margin}{line}" for line in [*lines[:most], *more])


def _paint(text: str, colour: str) -> str:
    return "\n".join(f"\x1b[{colour}m{line}\x1b[0m" for line in text.split("\n"))
