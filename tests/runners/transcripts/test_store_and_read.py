"""What was stored is read back byte for byte, from a directory and from S3, or its damage is named."""

import hashlib
import io
from pathlib import Path
from uuid import uuid4

import pytest
import zstandard
from django.db import IntegrityError

from runners.exceptions import TranscriptDamaged, TranscriptMissing
from runners.models import Transcript, TranscriptPart
from runners.services.transcripts import shelf
from runners.services.transcripts.read import (
    find_transcript,
    read_compressed,
    read_lines,
    read_text,
    transcripts_of_session,
)
from runners.services.transcripts.store import Place, Standing, UnknownAttempt, complete, standings_of, sweep
from runners.states import TranscriptKind
from tests.runners.factories import make_runner, store
from tests.s3 import S3

ONE, TWO = b'[0.1, "o", "one"]\n[0.2, ' * 50, b'"o", "two"]\n' * 50


def stored(place: Place) -> Transcript:
    """Store two parts."""
    assert store(place, 0, ONE) == Standing(len(ONE), is_ours=True)
    assert store(place, len(ONE), TWO) == Standing(len(ONE) + len(TWO), is_ours=True)
    return find_transcript(place.runner_id, place.generation, place.kind)


def text_of(transcript: Transcript, start: int = 0, end: int | None = None) -> bytes:
    return b"".join(read_text(transcript, start, end))


def test_parts_are_read_back_as_one_text_from_any_offset(place: Place, kept: object) -> None:
    transcript = stored(place)
    whole = ONE + TWO
    assert text_of(transcript) == whole
    for start, end in [(0, 1), (len(ONE) - 3, len(ONE) + 3), (len(ONE), None), (len(whole), None), (7, 7)]:
        assert text_of(transcript, start, end) == whole[start:end]


def test_lines_that_are_split_between_parts_are_whole(place: Place, kept: object) -> None:
    whole = ONE + TWO + b"no end"
    transcript = stored(place)
    store(place, len(ONE + TWO), b"no end")
    assert list(read_lines(transcript)) == whole.splitlines(keepends=True)


def test_the_stored_parts_altogether_are_one_zstd_stream(place: Place, kept: object) -> None:
    stream = io.BytesIO(b"".join(read_compressed(stored(place))))
    with zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True) as reader:
        assert reader.read() == ONE + TWO


def test_what_comes_twice_or_past_a_gap_is_answered_with_where_the_database_stands(place: Place, kept: object) -> None:
    transcript = stored(place)
    stands = Standing(len(ONE + TWO))
    assert store(place, 0, ONE) == stands
    assert store(place, len(ONE + TWO) + 1, b"past a gap") == stands
    assert store(place, 5, b"overlaps") == stands
    assert text_of(transcript) == ONE + TWO
    assert TranscriptPart.objects.count() == 2


def test_a_part_stored_and_not_entered_is_stored_anew_and_its_stray_removed(
    place: Place, kept: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise IntegrityError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr("tests.runners.factories.enter_all", die)
        with pytest.raises(IntegrityError):
            store(place, 0, b"less of it")
    folder = shelf.folder(place.runner_id, place.generation, place.kind)
    assert len(list(shelf.names(folder))) == 1
    assert standings_of([place]) == {place: Standing()}
    transcript = stored(place)
    assert len(list(shelf.names(folder))) == 3
    assert sweep(place) == 0, "somebody may be about to enter it, as long as it grows"
    assert complete(place, len(ONE + TWO))
    assert sweep(place) == 1
    assert text_of(transcript) == ONE + TWO


def test_a_transcript_is_complete_with_the_checksum_of_the_whole(place: Place, kept: object) -> None:
    transcript = stored(place)
    assert not complete(place, len(ONE + TWO) + 1), "more is on the node"
    assert complete(place, len(ONE + TWO))
    transcript.refresh_from_db()
    assert transcript.sha256 == hashlib.sha256(ONE + TWO).hexdigest()
    assert store(place, len(ONE + TWO), b"more") == Standing(len(ONE + TWO), is_complete=True)


def test_the_last_part_may_bring_the_checksum_of_the_whole_along(place: Place, directory: Path) -> None:
    whole = hashlib.sha256(ONE).hexdigest()
    assert store(place, 0, ONE, whole=whole) == Standing(len(ONE), is_complete=True, is_ours=True)
    assert Transcript.objects.get().sha256 == whole


def test_a_part_that_was_changed_in_the_directory_is_named(place: Place, directory: Path) -> None:
    transcript = stored(place)
    part = TranscriptPart.objects.first()
    assert part is not None
    (directory / part.name).write_bytes(b"something else")
    with pytest.raises(TranscriptDamaged, match=part.name):
        text_of(transcript)
    assert text_of(transcript, len(ONE)) == TWO, "the others can be read"


def test_a_part_that_was_changed_in_the_bucket_is_named(place: Place, s3: S3, request: pytest.FixtureRequest) -> None:
    transcript = stored(place)
    part = TranscriptPart.objects.first()
    assert part is not None
    key = f"{request.node.name}/{part.name}"
    assert key in s3.objects()
    s3.overwrite(key, b"something else")
    with pytest.raises(TranscriptDamaged, match=part.name):
        text_of(transcript)


def test_a_part_that_is_gone_is_named(place: Place, kept: object) -> None:
    transcript = stored(place)
    part = TranscriptPart.objects.last()
    assert part is not None
    shelf.remove(part.name)
    with pytest.raises(TranscriptDamaged, match=f"{part.name} is not in storage"):
        text_of(transcript)


def test_an_attempt_that_the_database_does_not_know_is_refused(directory: Path, db: None) -> None:
    with pytest.raises(UnknownAttempt):
        store(Place(uuid4(), 1, TranscriptKind.OUTPUT), 0, b"whose?")
    assert not Transcript.objects.exists()


def test_a_directory_keeps_transcripts_for_its_owner_only(place: Place, directory: Path) -> None:
    stored(place)
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_session_has_the_transcripts_of_its_attempts_in_their_order(directory: Path, db: None) -> None:
    first = make_runner()
    second = make_runner(session=first.session, project=first.project)
    for runner in (first, second):
        for kind in TranscriptKind:
            store(Place(runner.pk, 1, kind), 0, b"text")
    assert first.session_id is not None
    found = transcripts_of_session(first.session_id, TranscriptKind.OUTPUT)
    assert [transcript.runner_id for transcript in found] == [first.pk, second.pk]


def test_nothing_in_storage_is_a_clear_error(db: None) -> None:
    with pytest.raises(TranscriptMissing):
        find_transcript(uuid4(), 1, TranscriptKind.OUTPUT)
