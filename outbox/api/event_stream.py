"""The event stream as Server-Sent Events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import json
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, Throttled, ValidationError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from outbox.api.growth import get_growth
from outbox.api.pagination import MAX_POSITION
from outbox.envelope import cloud_event
from outbox.patterns import wrong_pattern
from outbox.services.read_stream import Beginning, Page, Wanted, beginning, read_page

HEARTBEAT_SECONDS = 15.0
#: What a client waits before it comes back.
RETRY_MILLISECONDS = 1_000
#: The server's connection takes all it is given and keeps it in memory until the client reads. So an answer ends here,
#: and the client comes back for the rest: one that reads slowly, or not at all, costs no more than this.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
#: A revoked token or a closed account ends an open stream within this time.
RECHECK_SECONDS = 60.0

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would otherwise collect the answer
#: Open streams of this process by user.
_open: Counter[int | None] = Counter()


class EventStreamRenderer(BaseRenderer):
    """Lets clients ask for text/event-stream; only refusals are rendered."""

    media_type = MEDIA_TYPE
    format = "event-stream"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return json.dumps(data).encode()


class EventStreamView(APIView):
    """Follow the stream: what was missed, then what happens."""

    renderer_classes = [EventStreamRenderer, JSONRenderer]

    @extend_schema(
        tags=["events"],
        summary="Follow the event stream",
        parameters=[
            OpenApiParameter("after", int, description="Begin past this `sequence`; 0: with the oldest that is kept."),
            OpenApiParameter("Last-Event-ID", int, OpenApiParameter.HEADER, description="The same; it wins."),
            OpenApiParameter("types", str, description="Patterns of types, separated by commas: `runner.*`."),
            OpenApiParameter("project", str, description="Names, separated by commas. What has none comes anyway."),
        ],
        responses={(200, MEDIA_TYPE): OpenApiResponse(str, description="Events; `id` is the `sequence`.")},
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Each message is one event's envelope. Without a position it begins with what happens next.

        An event named `reset` says that events were missed for good. The answer ends now and then: come back with
        `Last-Event-ID`, as EventSource does by itself.
        """
        wanted, left_off = _wanted(request), _left_off(request)
        if _open[request.user.pk] >= settings.EVENT_STREAMS_PER_USER:
            raise Throttled(wait=5, detail=f"You have {settings.EVENT_STREAMS_PER_USER} streams open already.")
        answer = messages(request, left_off, wanted)
        return StreamingHttpResponse(answer, content_type=f"{MEDIA_TYPE}; charset=utf-8", headers=HEADERS)


async def messages(request: Request, left_off: int | None, wanted: Wanted) -> AsyncGenerator[bytes]:
    """Yield the stream as it goes over the wire."""
    user = request.user.pk
    _open[user] += 1
    try:
        sent = 0
        # Closed here and now: left to the garbage collector it would go on following for nobody.
        async with aclosing(_messages(request, left_off, wanted)) as stream:
            async for message in stream:
                yield message
                sent += len(message)
                if sent > MAX_ANSWER_BYTES:
                    return
    finally:
        _open[user] -= 1


async def _messages(request: Request, left_off: int | None, wanted: Wanted) -> AsyncGenerator[bytes]:
    start: Beginning = await _read(beginning, left_off)
    position = start.position
    yield f"retry: {RETRY_MILLISECONDS}\nid: {position}\n\n".encode()
    if start.reset:
        yield _reset(start, left_off)
    quiet_since = checked_at = time.monotonic()
    async with get_growth().followed() as growth:
        while True:
            page: Page = await _read(read_page, position, wanted)
            for event in page.events:
                yield b"id: %d\ndata: %b\n\n" % (event.sequence, cloud_event(event))
            position = max(position, page.reached)
            now = time.monotonic()
            if page.events:
                quiet_since = now
            elif now - quiet_since >= HEARTBEAT_SECONDS:
                # With the position: what the filter kept out need not be looked through again.
                yield b": still here\nid: %d\n\n" % position
                quiet_since = now
            if now - checked_at >= RECHECK_SECONDS:
                if not await _read(still_signed_in, request):
                    return
                checked_at = now
            await growth.past(position, seconds=max(0.0, quiet_since + HEARTBEAT_SECONDS - now))


def _reset(start: Beginning, left_off: int | None) -> bytes:
    told = {"reason": start.reset, "after": left_off, "continues_after": start.position}
    return b"event: reset\nid: %d\ndata: %b\n\n" % (start.position, json.dumps(told).encode())


def still_signed_in(request: Request) -> bool:
    """Return whether who asked may still ask: not signed out, the token not revoked, the account not closed."""
    authenticator = request.successful_authenticator
    if isinstance(authenticator, SessionAuthentication):
        fresh = HttpRequest()
        fresh.session = type(request.session)(request.session.session_key)
        return get_user(fresh).is_authenticated
    try:
        return authenticator is not None and authenticator.authenticate(request) is not None
    except AuthenticationFailed:
        return False


def _wanted(request: Request) -> Wanted:
    types, projects = (_words(request, name) for name in ("types", "project"))
    wrong = [complaint for pattern in types if (complaint := wrong_pattern(pattern))]
    if wrong:
        raise ValidationError({"types": wrong})
    return Wanted(types, projects)


def _words(request: Request, name: str) -> list[str]:
    parts = ",".join(request.query_params.getlist(name)).split(",")
    return [part.strip() for part in parts if part.strip()]


def _left_off(request: Request) -> int | None:
    for name, text in (
        ("Last-Event-ID", request.headers.get("Last-Event-ID", "")),
        ("after", request.query_params.get("after", "")),
    ):
        if text:
            if not (text.isascii() and text.isdigit() and int(text[:20]) <= MAX_POSITION):
                raise ValidationError({name: ["A whole number from 0 is wanted."]})
            return int(text)
    return None


async def _read(function: Any, *args: Any) -> Any:
    # Not thread-sensitive: a stream must not queue behind the requests of one thread.
    return await database_sync_to_async(function, thread_sensitive=False)(*args)
