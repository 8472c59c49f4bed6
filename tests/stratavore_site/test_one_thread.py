"""Requests to the ASGI application: each in one thread, with others at the same time."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.testing import ApplicationCommunicator
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from pytest_django import Settings

from outbox.origin import current_origin
from stratavore_site.one_thread import OneThreadHandler

gate = threading.Barrier(2, timeout=30)
outside: list[int] = []


class NoteThread:
    """The outermost middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        outside.append(threading.get_ident())
        return self.get_response(request)


def where(request: HttpRequest) -> HttpResponse:
    gate.wait()
    return JsonResponse({"source": current_origin().source, "thread": threading.get_ident()})


def stream(request: HttpRequest) -> HttpResponseBase:
    async def parts() -> AsyncIterator[bytes]:
        for n in range(3):
            await asyncio.sleep(0)
            yield f"{n} of {threading.current_thread().name};".encode()

    return StreamingHttpResponse(parts())


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken")


urlpatterns = [
    path("api/where", where),
    path("admin/where", where),
    path("stream", stream),
    path("broken", broken),
]


@pytest.fixture(autouse=True)
def _site(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [f"{__name__}.NoteThread", *settings.MIDDLEWARE]
    settings.ALLOWED_HOSTS = ["testserver"]
    outside.clear()


async def ask(handler: OneThreadHandler, address: str) -> tuple[int, bytes]:
    """Send a request as a server does; return status and body."""
    scope = {
        "type": "http", "method": "GET", "path": address, "query_string": b"", "headers": [(b"host", b"testserver")],
    }  # fmt: skip
    server = ApplicationCommunicator(handler, scope)
    await server.send_input({"type": "http.request", "body": b""})
    begun: dict[str, Any] = await server.receive_output(30)
    body, more = b"", True
    while more:
        part = await server.receive_output(30)
        body, more = body + part.get("body", b""), part.get("more_body", False)
    await server.send_input({"type": "http.disconnect"})
    await server.wait(30)
    return begun["status"], body


def test_each_request_has_a_thread_and_an_origin_of_its_own_from_the_first_middleware_to_the_view() -> None:
    async def both() -> Any:
        handler = OneThreadHandler()
        return await asyncio.gather(ask(handler, "/api/where"), ask(handler, "/admin/where"))

    told = [json.loads(body) for _, body in asyncio.run(both())]
    assert [each["source"] for each in told] == ["api", "admin"]
    assert sorted(each["thread"] for each in told) == sorted(outside)
    assert len({*outside, threading.get_ident()}) == 3


def test_a_body_that_is_streamed_comes_from_the_event_loop() -> None:
    status, body = asyncio.run(ask(OneThreadHandler(), "/stream"))
    assert (status, body) == (200, b"0 of MainThread;1 of MainThread;2 of MainThread;")
    assert outside


@pytest.mark.parametrize(("address", "status"), [("/broken", 500), ("/nowhere", 404)])
def test_what_goes_wrong_is_answered(address: str, status: int) -> None:
    assert asyncio.run(ask(OneThreadHandler(), address))[0] == status
