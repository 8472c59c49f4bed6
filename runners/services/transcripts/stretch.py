"""What of a file in a run directory is to be stored next.

The shim appends whole lines. Where one part ends and the next begins is ours to choose, so nothing need be remembered
of a secret that stands across the border: the file itself is looked at on both sides of it, now and after any crash.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runners.redaction import LOOK_AHEAD_BYTES, LOOK_BACK_BYTES, Findings, Redactor
from runners.redaction.views import cast_view
from runners.states import TranscriptKind

#: Of a terminal's output the end may be the beginning of a secret: it waits for what follows, unless it is longer.
LONGEST_TOKEN_BYTES = LOOK_AHEAD_BYTES
#: As the next event would begin.
_NEXT_EVENT = b'[0.0, "o", "'
_PARTIAL = b'", "partial": true}\n'


@dataclass(frozen=True)
class Stretch:
    """Some lines of a file, with what stands around them."""

    start: int
    data: bytes
    before: bytes
    after: bytes
    #: Nothing follows, now or later.
    is_last: bool

    def redacted(self, redactor: Redactor, kind: TranscriptKind) -> tuple[bytes, Findings]:
        """Return the lines as they may be stored, as long as they were."""
        redact = redactor.cast if kind == TranscriptKind.OUTPUT else redactor.telemetry
        return redact(self.data, self.before, self.after)


def next_stretch(path: Path, kind: TranscriptKind, start: int, *, most_bytes: int, ended: bool) -> Stretch:
    """Return what follows in the file after byte `start`: about `most_bytes` at most, of a longer line all of it.

    What is returned is on the disk. `ended`: nobody writes to the file any more; before that, what might be the first
    half of a secret is left for the next time. Raises FileNotFoundError.
    """
    with path.open("rb") as file:
        back = max(0, start - LOOK_BACK_BYTES)
        file.seek(back)
        before = file.read(start - back)
        data, after = _lines(file, start, most_bytes, ended=ended)
        if data and not ended and b"\n" not in after:
            settled = _settled(data, kind)
            # What waits is looked at, too: its first line may have the end of a secret that begins in these.
            data, after = data[:settled], data[settled:] + after
        if data:
            # The database will say that it has so much: after a power cut the file must not have less.
            os.fdatasync(file.fileno())
        return Stretch(start, data, before, after, is_last=ended and start + len(data) >= file.seek(0, os.SEEK_END))


def _lines(file: BinaryIO, start: int, most_bytes: int, *, ended: bool) -> tuple[bytes, bytes]:
    """Return whole lines, and what follows them. The last line of an ended file may lack its end."""
    file.seek(start)
    data = file.read(most_bytes)
    if len(data) == most_bytes and not data.endswith(b"\n"):
        data += file.readline()
    after = file.read(LOOK_AHEAD_BYTES)
    if len(after) == LOOK_AHEAD_BYTES:
        after += file.readline()
    whole = data if ended and not after else data[: data.rfind(b"\n") + 1]
    return whole, data[len(whole) :] + after


def _settled(data: bytes, kind: TranscriptKind) -> int:
    """Return how much of the newest lines of a file can be judged by what is there."""
    if kind == TranscriptKind.TELEMETRY:
        return data.rfind(b"\n", 0, -1) + 1 if data.endswith(_PARTIAL) else len(data)
    tail = max(0, data.rfind(b"\n", 0, max(0, len(data) - 2 * LONGEST_TOKEN_BYTES)) + 1)
    view = cast_view(data[tail:] + _NEXT_EVENT)
    # Blanks end a token; so does what moves the cursor, which is a blank in the view.
    word = len(view.text) - len(view.text.rstrip(b"".join(_NO_BLANKS)))
    if not word or word > LONGEST_TOKEN_BYTES:
        return len(data)
    place = next(view.places(len(view.text) - word, len(view.text)))[0]
    return data.rfind(b"\n", 0, tail + place) + 1


_NO_BLANKS = [bytes([byte]) for byte in range(256) if not bytes([byte]).isspace()]
