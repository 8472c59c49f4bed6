"""The terminal websocket, /ws/runners/<id>/terminal/: docs/live-protocol.md.

It pulls: the node's agent is asked for what comes after a byte offset, and asked again when the browser has shown it.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from django.db import transaction

from dashboard.attempts import READ_TIMEOUT_SECONDS, TAIL, Attempt, present_attempt, read_output, resize, send_input
from dashboard.cast import CastReader, Output, Size
from dashboard.escapes import EscapeFilter
from dashboard.sockets import (
    NOT_FOUND,
    RECHECK_SECONDS,
    SIGNED_OUT,
    Receive,
    Scope,
    Send,
    accept,
    close,
    may,
    origin_of,
    parse,
    send_json,
    still_signed_in,
)
from dashboard.window import Window
from outbox.origin import origin
from runners import acts
from runners.exceptions import NodeUnreachable
from runners.models import Runner

#: Shorter recordings are replayed whole; of a longer one the end is shown.
REPLAY_BYTES = 2 * 1024 * 1024
#: Chunks of at most 64 kB sent ahead of what the browser has drawn.
WINDOW = 4
RETRY_SECONDS = (1.0, 2.0, 5.0)
MAX_INPUT_CHARACTERS = 16_384
MAX_COLUMNS, MAX_ROWS = 500, 300


async def terminal_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one viewer of one runner until the socket closes."""
    if not await accept(scope, receive, send):
        return
    runner_id = scope["url_route"]["kwargs"]["runner_id"]
    attempt = await database_sync_to_async(present_attempt, thread_sensitive=False)(runner_id)
    if attempt is None:
        await close(send, NOT_FOUND)
        return
    await Viewer(scope, send, attempt, writable=await may(scope, "runners.change_runner")).serve(receive)


class Viewer:
    """One browser that looks at one attempt."""

    def __init__(self, scope: Scope, send: Send, attempt: Attempt, *, writable: bool) -> None:
        self.scope = scope
        self.send = send
        self.attempt = attempt
        self.writable = writable
        self.window = Window(WINDOW)
        self.typed = False
        self.offset = _offset(scope, attempt)

    async def serve(self, receive: Receive) -> None:
        await send_json(
            self.send,
            op="hello",
            generation=self.attempt.generation,
            writable=self.writable,
            truncated=self.offset == TAIL,
            offset=self.offset,
        )
        tasks = [
            asyncio.create_task(self._read(receive)),
            asyncio.create_task(self._show()),
            asyncio.create_task(self._watch_session()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    # --- To the browser ---

    async def _show(self) -> None:
        """Send the output as it comes. Ends never: after the last byte the picture stays."""
        reader, escapes = CastReader(), EscapeFilter()
        while True:
            await self.window.room()
            reply = await self._next()
            for fact in _joined(reader.feed(reply["data"])):
                if isinstance(fact, Size):
                    await send_json(self.send, op="size", columns=fact.columns, rows=fact.rows)
                else:
                    await send_json(self.send, op="output", data=escapes.feed(fact.text))
            self.offset = reply["next"]
            if reply["data"]:
                self.window.sent()
                await send_json(self.send, op="at", offset=self.offset)
            if reply["eof"]:
                await send_json(self.send, op="end")
                await asyncio.Event().wait()

    async def _next(self) -> dict[str, Any]:
        """Return the next answer of the node, however long it is away; the browser is told that it is."""
        failures = 0
        while True:
            try:
                reply = await read_output(self.attempt, self.offset, limit=READ_TIMEOUT_SECONDS)
            except NodeUnreachable as error:
                await send_json(self.send, op="trouble", error=error.message)
                await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
                continue
            if failures:
                await send_json(self.send, op="well")
            return reply

    # --- From the browser ---

    async def _read(self, receive: Receive) -> None:
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            await self._obey(parse(event))

    async def _obey(self, message: dict[str, Any]) -> None:
        match message:
            case {"op": "ack", "count": count}:
                self.window.acknowledged(count)
            case {"op": "ping"}:
                await send_json(self.send, op="pong")
            case {"op": "input" | "resize"} if not self.writable:
                await send_json(self.send, op="refused", error="You may look at this terminal, not type into it.")
            case {"op": "input", "data": str(data)} if 0 < len(data) <= MAX_INPUT_CHARACTERS:
                await self._record_typing()
                await self._try(send_input(self.attempt, data))
            case {"op": "resize", "columns": int(columns), "rows": int(rows)} if (
                1 < columns <= MAX_COLUMNS and 1 < rows <= MAX_ROWS
            ):
                await self._try(resize(self.attempt, columns, rows))
            case _:
                await send_json(self.send, op="refused", error="This is no message of a terminal.")

    async def _record_typing(self) -> None:
        """Record that somebody types, once for each socket: who took over is an act, each key is none."""
        if not self.typed:
            self.typed = True
            await database_sync_to_async(_record_typing, thread_sensitive=False)(self.scope)

    async def _try(self, request: Any) -> None:
        try:
            await request
        except NodeUnreachable as error:
            await send_json(self.send, op="refused", error=error.message)

    async def _watch_session(self) -> None:
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            if not await still_signed_in(self.scope):
                await close(self.send, SIGNED_OUT)
                return


def _record_typing(scope: Scope) -> None:
    runner = Runner.objects.get(pk=scope["url_route"]["kwargs"]["runner_id"])
    with origin(origin_of(scope)), transaction.atomic():
        acts.on_runner("type", runner, actor=f"user:{scope['user'].get_username()}")


def _joined(facts: Any) -> list[Size | Output]:
    """Return the facts with neighbouring outputs made one: a program may write a byte at a time."""
    joined: list[Size | Output] = []
    for fact in facts:
        last = joined[-1] if joined else None
        if isinstance(fact, Output) and isinstance(last, Output):
            joined[-1] = Output(last.text + fact.text)
        else:
            joined.append(fact)
    return joined


def _offset(scope: Scope, attempt: Attempt) -> int:
    """Return where to begin: where the browser says it was in this attempt, else at the start, or near the end."""
    query = parse_qs(scope.get("query_string", b"").decode("ascii", "replace"))
    asked, generation = query.get("offset", [""])[0], query.get("generation", [""])[0]
    if asked.isdigit() and generation == str(attempt.generation):
        return int(asked)
    return 0 if attempt.output_bytes <= REPLAY_BYTES else TAIL
