"""What a project does not keep for longer is removed; of a node, only what is kept elsewhere."""

import os
import time
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from outbox.models import AuditEntry
from runners.exceptions import TranscriptMissing
from runners.models import Transcript, TranscriptPart
from runners.node_agent.attempts import INGESTED
from runners.node_agent.clearing import clear
from runners.node_agent.keeper import KEPT
from runners.services.transcripts import shelf
from runners.services.transcripts.read import read_text
from runners.services.transcripts.retention import find_due, remove_due
from runners.services.transcripts.store import Place, complete
from runners.shim import rundir
from runners.states import TranscriptKind
from tests.runners.factories import make_project, make_runner, store

pytestmark = pytest.mark.django_db
TEXT = b'[0.1, "o", "hello"]\n'


def kept(*, days: int | None, age_days: float, is_complete: bool = True) -> Transcript:
    """Make a transcript that was complete so long ago."""
    runner = make_runner(project=make_project(transcript_days=days))
    place = Place(runner.pk, 1, TranscriptKind.OUTPUT)
    store(place, 0, TEXT)
    if is_complete:
        complete(place, len(TEXT))
        place.transcripts().update(completed_at=timezone.now() - timedelta(days=age_days))
    return place.transcripts().get()


def objects_of(transcript: Transcript) -> list[str]:
    return list(shelf.names(shelf.folder(transcript.runner_id, transcript.generation, transcript.kind)))


def test_only_what_is_complete_and_too_old_is_removed(kept_in: Any) -> None:
    old = kept(days=30, age_days=31)
    others = [
        kept(days=30, age_days=29),
        kept(days=None, age_days=4000),
        kept(days=0, age_days=0, is_complete=False),
    ]
    assert [due.transcript for due in find_due()] == [old]
    assert remove_due() == 1
    old.refresh_from_db()
    assert old.removed_at is not None
    assert objects_of(old) == []
    assert not TranscriptPart.objects.filter(transcript=old).exists()
    with pytest.raises(TranscriptMissing, match="was removed on"):
        list(read_text(old))
    for transcript in others:
        assert b"".join(read_text(transcript)) == TEXT
    assert AuditEntry.objects.get(action="transcript.remove").target_id == str(old.runner_id)
    assert remove_due() == 0


@pytest.fixture(params=["directory", "s3"])
def kept_in(request: Any) -> Any:
    return request.getfixturevalue(request.param)


def test_a_removal_that_was_broken_off_is_finished(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = kept(days=1, age_days=2)

    def away(_: str) -> None:
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(shelf, "remove", away)
        assert remove_due() == 0
    old.refresh_from_db()
    with pytest.raises(TranscriptMissing):
        list(read_text(old))
    assert remove_due() == 1
    assert objects_of(old) == []
    assert AuditEntry.objects.filter(action="transcript.remove").count() == 1


def test_the_command_shows_first_and_removes_when_told(directory: Path) -> None:
    old = kept(days=30, age_days=31)
    told = StringIO()
    call_command("transcripts", stdout=told)
    assert "would be removed" in told.getvalue()
    assert old.runner.name in told.getvalue()
    assert "--remove does it" in told.getvalue()
    assert objects_of(old)
    call_command("transcripts", "--remove", stdout=told)
    assert not objects_of(old)
    call_command("transcripts", stdout=told)
    assert "Nothing is kept for longer" in told.getvalue()


def run_directory(runs: Path, *marks: str, ended_days_ago: float | None) -> Path:
    directory = runs / f"{os.urandom(16).hex()}.1"
    directory.mkdir(parents=True)
    (directory / rundir.OUTPUT).write_bytes(TEXT)
    for mark in marks:
        (directory / mark).touch()
    if ended_days_ago is not None:
        rundir.write_exit(str(directory), {"code": 0})
        then = time.time() - ended_days_ago * 86_400
        os.utime(directory / rundir.EXIT, (then, then))
    return directory


def test_a_run_directory_goes_when_all_of_it_is_kept_elsewhere_and_old(tmp_path: Path, settings: Any) -> None:
    settings.RUN_DIRECTORY_DAYS = 7
    gone = run_directory(tmp_path, KEPT, INGESTED, ended_days_ago=8)
    stay = [
        run_directory(tmp_path, KEPT, INGESTED, ended_days_ago=6),
        run_directory(tmp_path, INGESTED, ended_days_ago=8),
        run_directory(tmp_path, KEPT, ended_days_ago=8),
        run_directory(tmp_path, KEPT, INGESTED, ended_days_ago=None),
    ]
    locked = run_directory(tmp_path, KEPT, INGESTED, ended_days_ago=8)
    other = tmp_path / "something-else"
    other.mkdir()
    lock = rundir.take_lock(str(locked))
    assert lock is not None
    assert clear(tmp_path) == 1
    os.close(lock)
    assert not gone.exists()
    assert all(directory.exists() for directory in [*stay, locked, other])
