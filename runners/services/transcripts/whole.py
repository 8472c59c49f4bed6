"""A recording as a file for people: of one attempt, or of all attempts of a session in one."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from runners.models import Transcript
from runners.services.transcripts.read import lines_in, read_text
from runners.states import TranscriptKind

#: Players pass over longer silences, such as the days between two attempts.
IDLE_SECONDS = 5.0
#: Sent at once, where lines are put together anew.
CHUNK_BYTES = 256 * 1024


def recording(transcripts: Sequence[Transcript]) -> Iterator[bytes]:
    """Yield one valid file made of these transcripts, which are of one kind and in order: asciicast v2, or JSON lines.

    Raises what read_text raises.
    """
    if len(transcripts) == 1:
        return _as_of_now(transcripts[0])
    if transcripts and transcripts[0].kind == TranscriptKind.OUTPUT:
        return _in_chunks(_one_cast([lines_in(_as_of_now(transcript)) for transcript in transcripts]))
    return chain.from_iterable([_as_of_now(transcript) for transcript in transcripts])


def _as_of_now(transcript: Transcript) -> Iterator[bytes]:
    """Return its text as long as its row says: it may grow between two questions."""
    return read_text(transcript, 0, transcript.size_bytes)


def _one_cast(recordings: Sequence[Iterator[bytes]]) -> Iterator[bytes]:
    """Yield the lines of one recording; a later attempt begins as much later as it did, on a cleared screen."""
    first: dict[str, Any] = {}
    for lines in recordings:
        header = json.loads(next(lines, b"{}"))
        if not first:
            first = header
            yield json.dumps({**header, "idle_time_limit": IDLE_SECONDS}).encode() + b"\n"
            yield from lines
            continue
        later = max(0.0, header.get("timestamp", 0) - first.get("timestamp", 0))
        yield _event(later, "r", f"{header.get('width', 80)}x{header.get('height', 24)}")
        yield _event(later, "o", "\x1bc")
        for line in lines:
            moment, code, text = json.loads(line)
            yield _event(moment + later, code, text)


def _event(moment: float, code: str, text: str) -> bytes:
    return f"[{moment:.6f}, {json.dumps(code)}, {json.dumps(text, ensure_ascii=False)}]\n".encode("utf-8", "replace")


def _in_chunks(lines: Iterator[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk, size = [], 0
    if chunk:
        yield b"".join(chunk)
