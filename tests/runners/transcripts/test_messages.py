"""Of a long message the row holds the beginning, and the API the whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from runners.models import Message, Observation, Runner, Session
from runners.node_agent.attempts import Attempt
from runners.services.ingest import ingest
from runners.services.shorten import LONGEST
from runners.services.transcripts.store import Place
from runners.states import TranscriptKind
from tests.runners.factories import store
from tests.runners.redaction.recordings import SECRETS, line, redactor
from tests.runners.teller import starting
from tests.runners.teller import teller as teller

pytestmark = pytest.mark.django_db
STARTED = b'{"t": 1.0, "kind": "started", "pid": 42, "start_ticks": 7, "boot_id": "b"}\n'
LONG = "first line\n" + "é\n" * 150_000 + "the end"


def claude(**told: Any) -> bytes:
    return line(json.dumps({"session_id": "s1", "uuid": "u1", **told}, ensure_ascii=False))


def take_in(runner: Runner, directory: Path, *records: bytes) -> None:
    (directory / "telemetry.jsonl").write_bytes(b"".join(records))
    attempt = Attempt(runner.pk, 1, directory, Observation.objects.get(runner=runner).telemetry_offset)
    while batch := attempt.next_batch():
        attempt.offset = ingest(batch)


def ran(directory: Path, output: str = LONG) -> bytes:
    """Return the telemetry of a runner whose tools took and gave something long."""
    runner = starting()
    Runner.objects.filter(pk=runner.pk).update(backend="claude_code")
    Session.objects.filter(runners=runner).update(backend="claude_code")
    call = {"type": "tool_use", "id": "t1", "name": "Write", "input": {"path": "a", "content": LONG, "n": 1}}
    records = [
        STARTED,
        claude(type="assistant", message={"id": "m1", "content": [{"type": "text", "text": "short"}, call]}),
        claude(type="user", message={"content": [{"type": "tool_result", "tool_use_id": "t1", "content": output}]}),
    ]
    take_in(runner, directory, *records)
    return b"".join(records)


def test_a_long_output_is_cut_in_the_row_and_whole_in_the_api(
    tmp_path: Path, directory: Path, admin_client: Client
) -> None:
    telemetry = ran(tmp_path, LONG + SECRETS["jwt"])
    short, call, result = Message.objects.order_by("pk")
    assert (short.text, short.more_characters, short.record_offset) == ("short", 0, None)
    assert result.text == LONG[:LONGEST]
    assert result.more_characters == len(LONG + SECRETS["jwt"]) - LONGEST
    assert call.tool_input == {"path": "a", "content": LONG[: LONGEST - 1], "n": 1}
    address = reverse("session-whole-message", args=[result.session_id, result.pk])
    assert admin_client.get(address).json()["type"] == "/problems/transcript_missing", "it is on the node alone"
    store(Place(result.runner_id, 1, TranscriptKind.TELEMETRY), 0, redactor().telemetry(telemetry)[0])  # type: ignore[arg-type]
    told = admin_client.get(address).json()
    assert told["text"].startswith(LONG)
    assert SECRETS["jwt"] not in told["text"]
    assert told["more_characters"] == 0
    whole = admin_client.get(reverse("session-whole-message", args=[call.session_id, call.pk])).json()
    assert whole["tool_input"] == {"path": "a", "content": LONG, "n": 1}
    listed = admin_client.get(reverse("session-messages", args=[call.session_id])).json()["results"]
    assert [message["more_characters"] > 0 for message in listed] == [False, True, True]


def test_the_page_of_a_message_shows_the_whole(tmp_path: Path, directory: Path, admin_client: Client) -> None:
    telemetry = ran(tmp_path)
    result = Message.objects.get(role="tool")
    address = reverse("dashboard:message", args=[result.session_id, result.pk])
    page = admin_client.get(address).content.decode()
    assert "the end" not in page
    assert f"{len(LONG) - LONGEST} characters more" in page
    store(Place(result.runner_id, 1, TranscriptKind.TELEMETRY), 0, telemetry)  # type: ignore[arg-type]
    assert "the end" in admin_client.get(address).content.decode()


def test_a_message_that_is_short_is_its_own_whole(admin_client: Client, tmp_path: Path) -> None:
    ran(tmp_path)
    short = Message.objects.order_by("pk")[0]
    told = admin_client.get(reverse("session-whole-message", args=[short.session_id, short.pk])).json()
    assert told["text"] == "short"
