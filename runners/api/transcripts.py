"""Transcripts over the API: what there is, and the recordings themselves."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import chain
from typing import Any

from channels.db import database_sync_to_async
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from runners.exceptions import TranscriptMissing
from runners.models import Transcript
from runners.services.transcripts.whole import recording
from runners.states import TranscriptKind

MEDIA_TYPES = {TranscriptKind.OUTPUT: "application/x-asciicast", TranscriptKind.TELEMETRY: "application/x-ndjson"}
ENDINGS = {TranscriptKind.OUTPUT: "cast", TranscriptKind.TELEMETRY: "jsonl"}

#: A runner may have any name.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")

KIND = OpenApiParameter(
    "kind", str, enum=TranscriptKind.values, description="output (the default): the terminal; telemetry: JSON lines."
)
ATTEMPT = OpenApiParameter("attempt", int, description="Its number; the newest one that has a recording by default.")
#: Also of what is not complete yet: then it is what is in storage now.
FILE = {
    (200, media_type): OpenApiResponse(
        OpenApiTypes.BINARY,
        "The recording, secrets redacted. `X-Transcript-Complete: false`: the runner has more to tell.",
    )
    for media_type in MEDIA_TYPES.values()
}


class RedactionSerializer(serializers.Serializer[Any]):
    """Secrets of one rule that were masked."""

    rule = serializers.CharField()
    secrets = serializers.IntegerField(help_text="Different ones.")
    places = serializers.IntegerField(help_text="In telemetry and on the terminal; what is told in both counts twice.")


class TranscriptSerializer(serializers.ModelSerializer[Transcript]):
    runner_id = serializers.UUIDField()
    attempt = serializers.IntegerField(source="generation")
    is_complete = serializers.BooleanField()

    class Meta:
        model = Transcript
        fields = [
            "runner_id", "attempt", "kind", "size_bytes", "stored_bytes", "part_count", "sha256", "is_complete",
            "began_at", "grown_at", "completed_at", "removed_at",
        ]  # fmt: skip


def kind_of(request: Request) -> TranscriptKind:
    """Return which recording is asked for."""
    asked = request.query_params.get("kind", TranscriptKind.OUTPUT)
    if asked not in TranscriptKind.values:
        raise ValidationError({"kind": [f"One of {', '.join(TranscriptKind.values)} is wanted."]})
    return TranscriptKind(asked)


def attempt_of(request: Request) -> int | None:
    """Return which attempt is asked for, if one is."""
    asked = request.query_params.get("attempt", "")
    if asked and not (asked.isascii() and asked.isdigit() and 0 < int(asked[:10]) < 2**31):
        raise ValidationError({"attempt": ["A whole number from 1 is wanted."]})
    return int(asked[:10]) if asked else None


def file_response(transcripts: Sequence[Transcript], name: str) -> StreamingHttpResponse:
    """Answer with one file made of these transcripts. Raises TranscriptMissing, TranscriptDamaged, or shelf.AWAY.

    Damage that is found on the way cuts the answer short of its Content-Length.
    """
    if not transcripts:
        raise TranscriptMissing("Nothing of it is in storage.")
    kind = TranscriptKind(transcripts[0].kind)
    texts = recording(transcripts)
    # What is wrong with the beginning is said before anything is sent.
    texts = chain([next(texts, b"")], texts)
    headers = {
        "Content-Disposition": f'attachment; filename="{_NOT_IN_NAMES.sub("-", name)}.{ENDINGS[kind]}"',
        "X-Transcript-Complete": "true" if all(transcript.is_complete for transcript in transcripts) else "false",
        "X-Content-Type-Options": "nosniff",
    }
    if len(transcripts) == 1:
        headers["Content-Length"] = str(transcripts[0].size_bytes)
    return StreamingHttpResponse(_awaited(texts), content_type=MEDIA_TYPES[kind], headers=headers)


async def _awaited(texts: Iterator[bytes]) -> AsyncIterator[bytes]:
    # Not thread-sensitive: a long download must not queue behind the requests of one thread, nor they behind it.
    following: Any = database_sync_to_async(next, thread_sensitive=False)
    while (text := await following(texts, None)) is not None:
        yield text
