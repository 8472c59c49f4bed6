"""What the pages of runners and sessions show of recordings; terminals of ended runners come from storage."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client
from django.urls import reverse

from dashboard.attempts import TAIL, kept_output, present_attempt, read_kept, read_output
from runners.models import Transcript
from runners.services.redaction import note_redactions
from runners.services.transcripts.store import Place, complete
from runners.states import TranscriptKind
from tests.runners.factories import make_runner, store
from tests.runners.redaction.recordings import event
from tests.runners.transcripts.conftest import directory as directory

HEADER = b'{"version": 2, "width": 120, "height": 32, "timestamp": 1764000000}\n'
TEXT = HEADER + b"".join(event(f"line {number}\r\n") for number in range(4000))


@pytest.mark.django_db
def test_pages_offer_the_recordings_and_tell_how_many_secrets_were_redacted(client: Client, directory: Path) -> None:
    runner = make_runner()
    store(Place(runner.pk, 1, TranscriptKind.OUTPUT), 0, TEXT)
    found = Counter({("github_token", 1): 2, ("github_token", 2): 1, ("jwt", 1): 4})
    note_redactions(runner.pk, runner.session_id, TranscriptKind.OUTPUT, found)
    for address, link in [
        (reverse("dashboard:runner", args=[runner.pk]), reverse("runner-transcript", args=[runner.pk])),
        (
            reverse("dashboard:session", args=[runner.session_id]),
            reverse("session-transcript", args=[runner.session_id]),
        ),
    ]:
        page = client.get(address).content.decode()
        assert "3 secrets redacted" in page
        assert "github_token: 2, jwt: 1" in page
        assert f'href="{link}?kind=output"' in page
        assert "still growing" in page


@pytest.mark.django_db
def test_a_recording_that_was_removed_is_not_offered(client: Client, directory: Path) -> None:
    runner = make_runner()
    place = Place(runner.pk, 1, TranscriptKind.OUTPUT)
    store(place, 0, TEXT)
    complete(place, len(TEXT))
    Transcript.objects.update(removed_at="2026-01-01T00:00:00Z")
    page = client.get(reverse("dashboard:runner", args=[runner.pk])).content.decode()
    assert "removed after its project" in page
    assert reverse("runner-transcript", args=[runner.pk]) not in page


@pytest.mark.django_db
def test_pages_of_runners_without_a_recording_say_nothing_of_it(client: Client) -> None:
    page = client.get(reverse("dashboard:runner", args=[make_runner().pk])).content.decode()
    assert 'id="recordings"' not in page


@pytest.mark.django_db(transaction=True)
def test_the_terminal_of_an_ended_runner_is_shown_whole_from_storage(directory: Path) -> None:
    runner = make_runner()
    place = Place(runner.pk, 1, TranscriptKind.OUTPUT)
    store(place, 0, TEXT[:100_000])
    store(place, 100_000, TEXT[100_000:])
    assert kept_output(runner.pk, 1) is None, "more may follow"
    complete(place, len(TEXT))
    attempt = present_attempt(runner.pk)
    assert attempt is not None
    shown, offset = b"", 0
    while True:
        # There is no node agent here: whoever asks one would wait in vain.
        reply: Any = async_to_sync(read_output)(attempt, offset, limit=0.1)
        assert reply["offset"] == offset
        shown += reply["data"].encode()
        if reply["eof"]:
            break
        offset = reply["next"]
    assert shown == TEXT
    tail = read_kept(attempt, TAIL)
    assert TEXT.endswith(tail["data"].encode())
    assert TEXT[tail["offset"] - 1 : tail["offset"]] == b"\n"
