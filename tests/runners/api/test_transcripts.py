"""Recordings over the API: listed, downloaded, redacted, and refused with reasons."""

import json
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client
from django.urls import reverse

from runners.models import Runner, TranscriptPart
from runners.services.redaction import note_redactions
from runners.services.transcripts.store import Place, complete
from runners.states import TranscriptKind
from tests.runners.factories import make_runner, store
from tests.runners.redaction.recordings import event
from tests.runners.transcripts.conftest import directory as directory

pytestmark = pytest.mark.django_db


def header(timestamp: int, width: int = 80) -> bytes:
    return json.dumps({"version": 2, "width": width, "height": 24, "timestamp": timestamp}).encode() + b"\n"


def record(runner: Runner, kind: TranscriptKind, text: bytes, generation: int = 1) -> None:
    place = Place(runner.pk, generation, kind)
    store(place, 0, text)
    complete(place, len(text))


@pytest.fixture
def client(django_user_model: Any) -> Client:
    client = Client()
    client.force_login(django_user_model.objects.create_user("viewer"))
    return client


def body(answer: Any) -> bytes:
    async def collected() -> bytes:
        return b"".join([text async for text in answer.streaming_content])

    return async_to_sync(collected)()


def test_a_recording_is_downloaded_as_it_was_stored(client: Client, directory: Path) -> None:
    runner = make_runner()
    text = header(1) + event("hello\r\n")
    record(runner, TranscriptKind.OUTPUT, text)
    answer = client.get(reverse("runner-transcript", args=[runner.pk]))
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/x-asciicast"
    assert answer["Content-Length"] == str(len(text))
    assert answer["X-Transcript-Complete"] == "true"
    assert f'filename="{runner.name}.cast"' in answer["Content-Disposition"]
    assert body(answer) == text


def test_the_newest_attempt_comes_unless_another_is_asked_for(client: Client, directory: Path) -> None:
    runner = make_runner(generation=2)
    from runners.models import Attempt

    Attempt.objects.create(runner=runner, generation=1, status="failed", session=runner.session)
    record(runner, TranscriptKind.TELEMETRY, b'{"one": 1}\n', generation=1)
    record(runner, TranscriptKind.TELEMETRY, b'{"two": 2}\n', generation=2)
    address = reverse("runner-transcript", args=[runner.pk])
    assert body(client.get(address, {"kind": "telemetry"})) == b'{"two": 2}\n'
    assert body(client.get(address, {"kind": "telemetry", "attempt": "1"})) == b'{"one": 1}\n'
    assert client.get(address, {"kind": "telemetry", "attempt": "3"}).status_code == 404
    listed = client.get(reverse("runner-transcripts", args=[runner.pk])).json()["results"]
    assert [(each["attempt"], each["kind"], each["is_complete"]) for each in listed] == [
        (1, "telemetry", True),
        (2, "telemetry", True),
    ]


def test_a_session_is_one_valid_recording_of_all_its_attempts(client: Client, directory: Path) -> None:
    first = make_runner()
    second = make_runner(session=first.session, project=first.project)
    record(first, TranscriptKind.OUTPUT, header(1000) + event("one", 2.0))
    record(second, TranscriptKind.OUTPUT, header(1060, width=100) + event("two", 3.0) + b'[4.000000, "r", "90x30"]\n')
    answer = client.get(reverse("session-transcript", args=[first.session_id]))
    head, *events = map(json.loads, body(answer).splitlines())
    assert (head["version"], head["width"], head["idle_time_limit"]) == (2, 80, 5.0)
    assert events == [
        [2.0, "o", "one"],
        [60.0, "r", "100x24"],
        [60.0, "o", "\x1bc"],
        [63.0, "o", "two"],
        [64.0, "r", "90x30"],
    ]


def test_what_is_damaged_is_named_before_anything_is_sent(client: Client, directory: Path) -> None:
    runner = make_runner()
    record(runner, TranscriptKind.OUTPUT, header(1))
    part = TranscriptPart.objects.get()
    (directory / part.name).write_bytes(b"broken")
    answer = client.get(reverse("runner-transcript", args=[runner.pk]))
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/transcript_damaged"
    assert answer.json()["part"] == part.name


def test_nothing_in_storage_and_nonsense_are_told_apart(client: Client, directory: Path) -> None:
    address = reverse("runner-transcript", args=[make_runner().pk])
    assert client.get(address).json()["type"] == "/problems/transcript_missing"
    assert client.get(address, {"kind": "video"}).status_code == 400
    assert client.get(address, {"attempt": "-1"}).status_code == 400
    assert Client().get(address).status_code == 401


def test_redactions_are_told_by_rule(client: Client) -> None:
    from collections import Counter

    runner = make_runner()
    findings = Counter({("github_token", 1): 2, ("github_token", 2): 1, ("jwt", 1): 1})
    note_redactions(runner.pk, runner.session_id, TranscriptKind.OUTPUT, findings)
    expected = [{"rule": "github_token", "secrets": 2, "places": 3}, {"rule": "jwt", "secrets": 1, "places": 1}]
    assert client.get(reverse("session-detail", args=[runner.session_id])).json()["redactions"] == expected
    (listed,) = client.get(reverse("session-list")).json()["results"]
    assert listed["redactions"] == expected


def test_a_project_says_for_how_long_its_recordings_are_kept(client: Client, admin_client: Client) -> None:
    project = make_runner().project
    address = reverse("project-detail", args=[project.name])
    assert client.get(address).json()["transcript_days"] is None
    answer = admin_client.patch(address, {"transcript_days": 30}, content_type="application/json")
    assert answer.json()["transcript_days"] == 30
    refused = admin_client.patch(address, {"transcript_days": 0}, content_type="application/json")
    assert refused.status_code == 400
