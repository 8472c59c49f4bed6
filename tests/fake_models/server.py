"""The server itself: one thread with an event loop, a queue of scripted replies, and a record of what was asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from tests.fake_models.answers import Answer, Cut, Hold, Refusal, Reply, Scripted, Usage

#: Real programs send their whole conversation with each request.
LARGEST_BODY = 64 * 1024 * 1024
LONGEST_WAIT_SECONDS = 20


@dataclass(frozen=True)
class Request:
    """One request for an answer, as it came in, and what it got."""

    dialect: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    reply: Reply

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def text(self) -> str:
        """Its body as text: to look for a word of the prompt."""
        return json.dumps(self.body)


class Dialect(Protocol):
    """The interface of one provider."""

    name: str

    def routes(self, server: ModelServer) -> Iterable[web.RouteDef]:
        """Return what it serves; handlers call `server.answer`."""

    def whole(self, answer: Answer, model: str) -> dict[str, Any]:
        """Return `answer` as one JSON document."""

    def events(self, answer: Answer, model: str) -> list[bytes]:
        """Return `answer` as server-sent events, each encoded."""

    def refusal(self, refusal: Refusal) -> dict[str, Any]:
        """Return an error's document."""


class ModelServer:
    """A fake model provider on a free loopback port.

    >>> with ModelServer([Messages()]) as server:
    ...     server.script(Answer(ToolCall("Bash", {"command": "touch x"})), Answer("Done."))
    """

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self.dialects = list(dialects)
        self.url = ""
        #: Requests for an answer, in their order; probes and token counts are not among them.
        self.requests: list[Request] = []
        #: Other paths that were asked for, as "METHOD /path".
        self.probes: list[str] = []
        #: Tokens of every answer that was delivered whole, by model.
        self.usage_by_model: dict[str, Usage] = {}
        self.otherwise: Reply = Answer("I have nothing more to say.", usage=Usage(input_tokens=7, output_tokens=3))
        self._script: deque[Scripted] = deque()
        self._arrived = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._ended: asyncio.Event
        self._thread = threading.Thread(target=self._serve, name="fake-models", daemon=True)
        self._ready = threading.Event()

    def script(self, *replies: Scripted) -> None:
        """Answer the next requests with `replies`, one each; after them `otherwise` serves."""
        self._script.extend(replies)

    @property
    def usage_total(self) -> Usage:
        return sum(self.usage_by_model.values(), Usage())

    def wait_for_requests(self, count: int, timeout_seconds: float = 60) -> None:
        """Return when `count` requests have come in, or raise TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout_seconds):
                raise TimeoutError(f"{len(self.requests)} of {count} requests came in {timeout_seconds} s.")

    def __enter__(self) -> ModelServer:
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("The fake model server did not start.")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    async def answer(
        self, dialect: Dialect, http: web.Request, model: str = "", stream: bool | None = None
    ) -> web.StreamResponse:
        """Answer one request by the script, in the words of `dialect`."""
        body = await http.json()
        model = model or str(body.get("model", ""))
        reply = self._next(dialect, http, body)
        match reply:
            case Refusal():
                told = {} if reply.retry_after_seconds is None else {"retry-after": str(reply.retry_after_seconds)}
                headers = {**told, **reply.headers}
                return web.json_response(dialect.refusal(reply), status=reply.status, headers=headers)
            case Hold():
                return await self._hold(http)
            case Cut():
                return await self._stream(http, dialect.events(reply.answer, model)[: reply.events], cut=reply)
        if not (body.get("stream", False) if stream is None else stream):
            self._count(model, reply.usage)
            return web.json_response(dialect.whole(reply, model))
        response = await self._stream(http, dialect.events(reply, model))
        self._count(model, reply.usage)
        return response

    def _next(self, dialect: Dialect, http: web.Request, body: Mapping[str, Any]) -> Reply:
        scripted = self._script.popleft() if self._script else self.otherwise
        facts = (dialect.name, http.path, dict(http.headers), body)
        reply = scripted(Request(*facts, reply=self.otherwise)) if callable(scripted) else scripted
        with self._arrived:
            self.requests.append(Request(*facts, reply=reply))
            self._arrived.notify_all()
        return reply

    def _count(self, model: str, usage: Usage) -> None:
        self.usage_by_model[model] = self.usage_by_model.get(model, Usage()) + usage

    async def _stream(self, http: web.Request, events: list[bytes], *, cut: Cut | None = None) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
        await response.prepare(http)
        for event in events:
            await response.write(event)
        if cut and cut.when:
            await self._loop.run_in_executor(None, cut.when.wait, LONGEST_WAIT_SECONDS)
        if cut and http.transport is not None:
            http.transport.close()  # without the last chunk: the client sees that something is missing
            return response
        await response.write_eof()
        return response

    async def _hold(self, http: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(http)
        await self._ended.wait()
        return response

    async def _unknown_path(self, http: web.Request) -> web.StreamResponse:
        self.probes.append(f"{http.method} {http.path}")
        return web.json_response({"error": {"type": "not_found_error", "message": "No such path."}}, status=404)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        self._ended = asyncio.Event()
        application = web.Application(client_max_size=LARGEST_BODY)
        for dialect in self.dialects:
            application.add_routes(dialect.routes(self))
        application.router.add_route("*", "/{path:.*}", self._unknown_path)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.5, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._ready.set()
        await self._ended.wait()
        await runner.cleanup()
