"""Text as rules see it, and where each of its bytes stands in the file.

output.cast and telemetry.jsonl are JSON lines. Rules look at what the lines say, joined: a secret may begin in one
event and end in the next, have a colour in its middle, or stand in JSON that stands in JSON. Nothing is parsed for
that: what lies between two texts is cut out, escapes become blanks of their own length, and a place in the view is
found again in the file.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator

#: A backslash and the letter after it, as blank and newline: so `\\nAKIA…` begins with no n.
_NEWLINES = ((b"\\n", b" \n"), (b"\\r", b" \r"), (b"\\t", b" \t"))
_WITHOUT_BACKSLASHES = bytes.maketrans(b"\\", b" ")
#: A bound on backslashes: of a megabyte of them each would be tried against all that follow.
_ASCII_ESCAPE = re.compile(rb"\\{1,8}u00[0-7][0-9a-fA-F]")

#: Colours and "erase to the end of the line" stand inside words; what moves the cursor parts them.
_PAINT = rb"(?:(?P<cut>\[[0-9;:]*[mK])|(?P<blank>\[[0-9;:?<=>!]*[ -/]*[@-~]|[()][0-9A-B]|[=>78DEMc]))"
_PAINTS = re.compile(rb"\\{1,8}u001[bB]" + _PAINT)
_RAW_PAINTS = re.compile(rb"\x1b" + _PAINT)

#: The next line of a program's output, or the rest of the same one: what stands before it tells.
_LINE = re.compile(rb'\n\{"t": [0-9.]+, "kind": "line", "stream": "[a-z]+", "text": "')
_WHOLE, _PARTIAL = b'"}', b'", "partial": true}'
#: From one piece of a terminal's output to the next one; the terminal may have been resized in between.
_EVENTS = re.compile(rb'"\]\n(?:\[[0-9.]+, "[^"o]", "[^"\n]*"\]\n){0,50}\[[0-9.]+, "o", "')
#: Where it begins and ends in the data, and whether a newline stands for it.
Cut = tuple[int, int, bool]


class View:
    """Some data without its cuts."""

    def __init__(self, text: bytes, begins: list[int], stands: list[int], *, escaped: bool) -> None:
        #: What rules look at.
        self.text = text
        #: The data has escapes, which must not be parted.
        self.escaped = escaped
        #: Where in the text each stretch of the data begins, and where in the data.
        self._begins = begins
        self._stands = stands

    def places(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield where text[start:end] stands in the data, stretch by stretch."""
        at = bisect_right(self._begins, start) - 1
        while start < end:
            after = self._begins[at + 1] if at + 1 < len(self._begins) else len(self.text)
            stop = min(end, after)
            if self._stands[at] >= 0:
                place = self._stands[at] + start - self._begins[at]
                yield place, place + stop - start
            start, at = stop, at + 1


def plain_view(data: bytes) -> View:
    """Return the view of text that is no JSON."""
    return _view(data, _paints(_RAW_PAINTS, data) if b"\x1b" in data else [], escaped=False)


def telemetry_view(data: bytes) -> View:
    """Return the view of lines of telemetry.jsonl."""
    cuts = list(_between_records(data))
    return _view(data, [*cuts, *_paints(_PAINTS, data)] if b"u001b" in data else cuts, escaped=True)


def cast_view(data: bytes) -> View:
    """Return the view of lines of output.cast."""
    cuts = [(*found.span(), False) for found in _EVENTS.finditer(data)]
    return _view(data, [*cuts, *_paints(_PAINTS, data)] if b"u001b" in data else cuts, escaped=True)


def _between_records(data: bytes) -> Iterator[Cut]:
    for found in _LINE.finditer(data):
        start = found.start()
        if data.endswith(_WHOLE, 0, start):
            yield start - len(_WHOLE), found.end(), True
        if data.endswith(_PARTIAL, 0, start):
            yield start - len(_PARTIAL), found.end(), False


def _paints(pattern: "re.Pattern[bytes]", data: bytes) -> list[Cut]:
    return [(*found.span(), found.lastgroup == "blank") for found in pattern.finditer(data)]


def _view(data: bytes, cuts: list[Cut], *, escaped: bool) -> View:
    cuts.sort()
    pieces: list[bytes] = []
    begins: list[int] = []
    stands: list[int] = []
    size = position = 0
    for start, end, is_blank in cuts:
        if start > position or not begins:
            begins.append(size)
            stands.append(position)
            pieces.append(data[position:start])
            size += start - position
        if is_blank:
            begins.append(size)
            stands.append(-1)
            pieces.append(b"\n")
            size += 1
        position = max(position, end)
    begins.append(size)
    stands.append(position)
    pieces.append(data[position:])
    text = b"".join(pieces) if len(pieces) > 1 else data
    return View(_flat(text) if escaped else text, begins, stands, escaped=escaped)


def _flat(text: bytes) -> bytes:
    """Return JSON's text with its escapes as blanks of the same length."""
    if b"\\" not in text:
        return text
    if b"u00" in text:
        text = _ASCII_ESCAPE.sub(lambda found: b" " * len(found[0]), text)
    for escape, blank in _NEWLINES:
        text = text.replace(escape, blank)
    return text.translate(_WITHOUT_BACKSLASHES)
