"""Read transcripts: the text of a recording from a byte offset on, as the node's file had it but for what was redacted.

Offsets are those of the file on the node, before redaction and after it. While a runner runs, the text ends at
`transcript.size_bytes`; what comes after it is on its node yet.
"""

import hashlib
from collections.abc import Iterator, Sequence
from uuid import UUID

import zstandard
from django.db.models import QuerySet

from runners.exceptions import StorageAway, TranscriptDamaged, TranscriptMissing
from runners.models import Transcript, TranscriptPart
from runners.services.transcripts import shelf
from runners.states import TranscriptKind


def find_transcript(runner_id: UUID, generation: int, kind: TranscriptKind) -> Transcript:
    """Return the transcript of an attempt. Raises TranscriptMissing."""
    found = Transcript.objects.filter(runner_id=runner_id, generation=generation, kind=kind).first()
    if found is None:
        raise TranscriptMissing("Nothing of it is in storage.", kind=str(kind))
    return found


def transcripts_of_session(session_id: UUID, kind: TranscriptKind) -> QuerySet[Transcript]:
    """Return the transcripts of all attempts of a session, in the order in which they were begun."""
    found = Transcript.objects.filter(session_id=session_id, kind=kind).select_related("runner")
    return found.order_by("began_at", "pk")


def read_text(transcript: Transcript, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Return the text from byte `start` to byte `end` (all there is), a part at a time, each held against its checksum.

    The database is asked now, not while it is read: that may be in another thread, or after its connection is gone.
    Raises TranscriptMissing if it was removed, TranscriptDamaged (it names the part) if storage has something else than
    was stored, StorageAway if it is away.
    """
    if transcript.removed_at is not None:
        raise TranscriptMissing(
            f"It was removed on {transcript.removed_at:%Y-%m-%d}.", removed_at=transcript.removed_at
        )
    return _texts(_parts(transcript, start, end), start, end)


def _texts(parts: Sequence[TranscriptPart], start: int, end: int | None) -> Iterator[bytes]:
    position = None
    for part in parts:
        if position is not None and part.start_offset != position:
            raise TranscriptDamaged(f"There is a gap before part {part.name}.", part=part.name)
        position = part.end_offset
        text = read_part(part)
        yield text[max(start - part.start_offset, 0) : None if end is None else max(end - part.start_offset, 0)]


def read_lines(transcript: Transcript, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Yield the lines from byte `start` on, each with its newline, but for a last one that has none."""
    return lines_in(read_text(transcript, start, end))


def lines_in(texts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the lines of a text that comes in pieces."""
    rest = b""
    for text in texts:
        *lines, rest = (rest + text).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def read_compressed(transcript: Transcript) -> Iterator[bytes]:
    """Yield the parts as they are stored, one valid zstd stream altogether, each held against its checksum."""
    for part in _parts(transcript, 0, None):
        yield _fetch(part)


def read_part(part: TranscriptPart) -> bytes:
    """Return the text of one part. Raises TranscriptDamaged, StorageAway."""
    data, size = _fetch(part), part.end_offset - part.start_offset
    try:
        # The frame tells how much memory it wants: ask first.
        if zstandard.frame_content_size(data) != size:
            raise TranscriptDamaged(f"Part {part.name} does not hold {size} bytes.", part=part.name)
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as error:
        raise TranscriptDamaged(f"Part {part.name} cannot be decompressed: {error}.", part=part.name) from error


def whole_sha256(transcript: Transcript) -> str:
    """Return the checksum of the text that is in storage, read back from there."""
    whole = hashlib.sha256()
    for text in read_text(transcript):
        whole.update(text)
    return whole.hexdigest()


def _parts(transcript: Transcript, start: int, end: int | None) -> list[TranscriptPart]:
    parts = TranscriptPart.objects.filter(transcript=transcript, end_offset__gt=start)
    if end is not None:
        parts = parts.filter(start_offset__lt=end)
    return list(parts.order_by("number"))


def _fetch(part: TranscriptPart) -> bytes:
    try:
        data = shelf.get(part.name)
    except FileNotFoundError:
        raise TranscriptDamaged(f"Part {part.name} is not in storage.", part=part.name) from None
    except shelf.AWAY as error:
        raise StorageAway(f"The storage of transcripts is away: {str(error)[:200]}") from error
    if len(data) != part.stored_bytes or hashlib.sha256(data).hexdigest() != part.sha256:
        raise TranscriptDamaged(f"Part {part.name} is not what was stored.", part=part.name)
    return data
