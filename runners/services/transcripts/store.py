"""Store transcripts, part by part: each byte once, whatever crashes between storage and database.

A part goes into storage first, under a name that tells of its content, and is entered in the database second. What was
stored and not entered is stored again by whoever comes next; what it left is removed when the transcript is complete.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
import zstandard
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from runners.models import Attempt, Runner, Transcript, TranscriptPart
from runners.redaction import Findings
from runners.services.redaction import note_redactions
from runners.services.transcripts import shelf
from runners.services.transcripts.read import whole_sha256
from runners.sql_rows import update_together
from runners.states import TranscriptKind

log = structlog.get_logger(__name__)

#: Compresses terminals eight to twenty times, at more than 100 MB/s.
LEVEL = 3
#: What of a transcript changes when it grows.
GROWING = ("size_bytes", "stored_bytes", "part_count", "grown_at", "sha256", "completed_at")


@dataclass(frozen=True)
class Place:
    """One file of one attempt."""

    runner_id: UUID
    generation: int
    kind: TranscriptKind

    @property
    def attempt(self) -> tuple[UUID, int]:
        return self.runner_id, self.generation

    def transcripts(self) -> QuerySet[Transcript]:
        """Return a query for its transcript."""
        return Transcript.objects.filter(runner_id=self.runner_id, generation=self.generation, kind=self.kind)


@dataclass(frozen=True)
class Standing:
    """How far the database has a transcript."""

    offset: int = 0
    is_complete: bool = False
    #: What was to be stored is stored, and was not there before.
    is_ours: bool = False


@dataclass(frozen=True)
class Piece:
    """Some text of one file that is in storage, and not entered yet."""

    place: Place
    part: TranscriptPart
    findings: Findings
    #: The checksum of everything up to its end, where nothing follows.
    whole: str = ""


def standings_of(places: Collection[Place]) -> dict[Place, Standing]:
    """Return how far each is stored."""
    found = _found(places, Transcript.objects.only("runner_id", "generation", "kind", "size_bytes", "completed_at"))
    stored = {place: Standing(row.size_bytes, row.is_complete) for place, row in found.items()}
    return {place: stored.get(place, Standing()) for place in places}


def put(place: Place, start: int, text: bytes, *, findings: Findings | None = None, whole: str = "") -> Piece:
    """Bring the text that begins at offset `start` into storage. Raises one of shelf.AWAY."""
    data = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(text)
    sha256 = hashlib.sha256(data).hexdigest()
    folder = shelf.folder(place.runner_id, place.generation, place.kind)
    name = shelf.put(f"{folder}/{start:015d}-{sha256[:16]}.zst", data)
    part = TranscriptPart(
        start_offset=start, end_offset=start + len(text), name=name, stored_bytes=len(data), sha256=sha256
    )
    return Piece(place, part, findings or Counter(), whole)


@transaction.atomic
def enter_all(pieces: Sequence[Piece]) -> list[Standing]:
    """Enter what is in storage, of different files, and return for each how far it is stored now.

    That is past the piece; or elsewhere, if it does not begin where the database stands: another was faster. With the
    checksum of the whole the transcript is complete. All or none; raises UnknownAttempt if it is none.
    """
    transcripts = _locked([piece.place for piece in pieces])
    entered, standings = [], []
    for piece in pieces:
        transcript, part = transcripts[piece.place], piece.part
        if transcript.is_complete or transcript.size_bytes != part.start_offset:
            standings.append(Standing(transcript.size_bytes, transcript.is_complete))
            continue
        _grow(transcript, piece)
        entered.append(piece)
        standings.append(Standing(part.end_offset, transcript.is_complete, is_ours=True))
    TranscriptPart.objects.bulk_create([piece.part for piece in entered])
    update_together([transcripts[piece.place] for piece in entered], GROWING)
    for piece in entered:
        note_redactions(piece.place.runner_id, transcripts[piece.place].session_id, piece.place.kind, piece.findings)
    return standings


def _grow(transcript: Transcript, piece: Piece) -> None:
    part, now = piece.part, timezone.now()
    part.transcript, part.number = transcript, transcript.part_count
    transcript.size_bytes = part.end_offset
    transcript.stored_bytes += part.stored_bytes
    transcript.part_count += 1
    transcript.grown_at = now
    if piece.whole:
        transcript.sha256, transcript.completed_at = piece.whole, now


def _locked(places: Collection[Place]) -> dict[Place, Transcript]:
    """Return the rows of transcripts, made if need be, locked. Raises UnknownAttempt."""
    lockable = Transcript.objects.select_for_update().order_by("pk")
    found = _found(places, lockable)
    missing = sorted((place for place in places if place not in found), key=lambda place: (place.attempt, place.kind))
    if missing:
        sessions = _sessions_of(missing)
        Transcript.objects.bulk_create(
            [Transcript(**vars(place), session_id=sessions[place.attempt]) for place in missing],
            ignore_conflicts=True,  # two at once: both go on with the one row
        )
        found |= _found(missing, lockable)
    return found


def _found(places: Collection[Place], rows: QuerySet[Transcript]) -> dict[Place, Transcript]:
    """Return those of `rows` that are of these places."""
    by_place = {
        Place(row.runner_id, row.generation, TranscriptKind(row.kind)): row
        for row in rows.filter(runner_id__in={place.runner_id for place in places})
    }
    return {place: by_place[place] for place in places if place in by_place}


def _sessions_of(places: Collection[Place]) -> dict[tuple[UUID, int], UUID | None]:
    """Return the session of each attempt. Raises UnknownAttempt."""
    ids = {place.runner_id for place in places}
    past = Attempt.objects.filter(runner_id__in=ids).values_list("runner_id", "generation", "session_id")
    present = Runner.objects.filter(pk__in=ids).values_list("pk", "generation", "session_id")
    found: dict[tuple[UUID, int], UUID | None] = {(row[0], row[1]): row[2] for row in [*past, *present]}
    for runner_id, generation in (place.attempt for place in places):
        if (runner_id, generation) not in found:
            raise UnknownAttempt(f"The database knows no attempt {generation} of runner {runner_id}.")
    return found


class UnknownAttempt(Exception):
    """The database does not know whose transcript this is: it is another one than it was."""


def complete(place: Place, size: int, whole: str = "") -> bool:
    """Note that nothing follows after `size` bytes; return whether that much, or nothing at all, is stored.

    Without `whole` the checksum of the whole is taken of what is in storage: somebody else stored its beginning. Raises
    TranscriptDamaged, StorageAway.
    """
    transcript = place.transcripts().first()
    if transcript is None:
        return size == 0
    if not transcript.is_complete:
        if transcript.size_bytes != size:
            return False
        sha256 = whole or whole_sha256(transcript)
        unchanged = Transcript.objects.filter(pk=transcript.pk, size_bytes=size, completed_at__isnull=True)
        unchanged.update(sha256=sha256, completed_at=timezone.now())
    return True


def sweep(*places: Place) -> int:
    """Remove from storage what was stored of complete transcripts and not entered; return how many."""
    whole = _found(places, Transcript.objects.filter(completed_at__isnull=False))
    parts = TranscriptPart.objects.filter(transcript__in=[row.pk for row in whole.values()])
    entered = set(parts.values_list("name", flat=True)) if whole else set()
    folders = [shelf.folder(place.runner_id, place.generation, place.kind) for place in whole]
    strays = [name for folder in folders for name in shelf.names(folder) if name not in entered]
    for name in strays:
        shelf.remove(name)
        log.info("stray_part_removed", name=name)
    return len(strays)
