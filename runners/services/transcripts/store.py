"""Store transcripts, part by part: each byte once, whatever crashes between storage and database.

A part goes into storage first, under a name that tells of its content, and is entered in the database second. What was
stored and not entered is stored again by whoever comes next; what it left is removed when the transcript is complete.
"""

import hashlib
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
from runners.states import TranscriptKind

log = structlog.get_logger(__name__)

#: Compresses terminals eight to twenty times, at more than 100 MB/s.
LEVEL = 3


@dataclass(frozen=True)
class Place:
    """One file of one attempt."""

    runner_id: UUID
    generation: int
    kind: TranscriptKind

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


def standing_of(place: Place) -> Standing:
    """Return how far it is stored."""
    found = place.transcripts().only("size_bytes", "completed_at").first()
    return Standing(found.size_bytes, found.is_complete) if found else Standing()


def store(place: Place, start: int, text: bytes, *, findings: Findings | None = None, whole: str = "") -> Standing:
    """Store the text that begins at offset `start`, and return how far the transcript is stored now.

    That is past this text; or elsewhere, if it does not begin where the database stands: another was faster. With
    `whole`, the checksum of everything up to its end, the transcript is complete with it. Raises UnknownAttempt, or one
    of shelf.AWAY.
    """
    before = standing_of(place)
    if before.is_complete or before.offset != start:
        return before
    data = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(text)
    sha256 = hashlib.sha256(data).hexdigest()
    folder = shelf.folder(place.runner_id, place.generation, place.kind)
    name = shelf.put(f"{folder}/{start:015d}-{sha256[:16]}.zst", data)
    part = TranscriptPart(
        start_offset=start, end_offset=start + len(text), name=name, stored_bytes=len(data), sha256=sha256
    )
    return _enter(place, part, findings, whole)


@transaction.atomic
def _enter(place: Place, part: TranscriptPart, findings: Findings | None, whole: str) -> Standing:
    transcript = _locked(place)
    if transcript.is_complete or transcript.size_bytes != part.start_offset:
        return Standing(transcript.size_bytes, transcript.is_complete)
    part.transcript, part.number = transcript, transcript.part_count
    part.save()
    now = timezone.now()
    transcript.size_bytes = part.end_offset
    transcript.stored_bytes += part.stored_bytes
    transcript.part_count += 1
    transcript.grown_at = now
    if whole:
        transcript.sha256, transcript.completed_at = whole, now
    transcript.save()
    if findings:
        note_redactions(place.runner_id, transcript.session_id, place.kind, findings)
    return Standing(part.end_offset, bool(whole), is_ours=True)


def _locked(place: Place) -> Transcript:
    """Return the transcript's row, made if need be, locked."""
    found = place.transcripts().select_for_update().first()
    if found is not None:
        return found
    session_id = _session_of(place)
    Transcript.objects.bulk_create(
        [Transcript(runner_id=place.runner_id, generation=place.generation, kind=place.kind, session_id=session_id)],
        ignore_conflicts=True,  # two at once: both go on with the one row
    )
    return place.transcripts().select_for_update().get()


def _session_of(place: Place) -> UUID | None:
    """Return the session of an attempt. Raises UnknownAttempt."""
    past = Attempt.objects.filter(runner_id=place.runner_id, generation=place.generation)
    present = Runner.objects.attempt(place.runner_id, place.generation)
    for query in (present, past):
        if found := query.values_list("session_id").first():
            return found[0]
    raise UnknownAttempt(f"The database knows no attempt {place.generation} of runner {place.runner_id}.")


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


def sweep(place: Place) -> int:
    """Remove from storage what was stored of a complete transcript and not entered; return how many."""
    if not place.transcripts().filter(completed_at__isnull=False).exists():
        return 0
    entered = set(TranscriptPart.objects.filter(transcript__in=place.transcripts()).values_list("name", flat=True))
    strays = [
        name for name in shelf.names(shelf.folder(place.runner_id, place.generation, place.kind)) if name not in entered
    ]
    for name in strays:
        shelf.remove(name)
        log.info("stray_part_removed", name=name)
    return len(strays)
