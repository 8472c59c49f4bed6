"""The live websocket, /ws/live/: docs/live-protocol.md."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils.dateparse import parse_datetime

from dashboard.changes import COUNTS, FLEET, pong, refusal
from dashboard.hub import get_hub
from dashboard.sockets import RECHECK_SECONDS, SIGNED_OUT, Receive, Scope, Send, accept, close, parse, still_signed_in
from dashboard.stream import Position
from dashboard.subscribers import Subscriber

MAX_TOPICS = 64


async def live_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one socket until it closes."""
    if not await accept(scope, receive, send):
        return
    hub, subscriber = get_hub(), Subscriber()
    await hub.join(subscriber)
    tasks = [
        asyncio.create_task(_write(subscriber, send)),
        asyncio.create_task(_read(subscriber, receive)),
        asyncio.create_task(_watch_session(scope)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[2] in done:
            await close(send, SIGNED_OUT)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await hub.leave(subscriber)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _write(subscriber: Subscriber, send: Send) -> None:
    while True:
        await subscriber.window.room()
        message = await subscriber.queue.get()
        if message is None:
            await get_hub().snapshot(subscriber)
            continue
        subscriber.window.sent()
        await send({"type": "websocket.send", "text": message})


async def _read(subscriber: Subscriber, receive: Receive) -> None:
    """Serve the client's messages; return when it has gone."""
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        await _serve(subscriber, parse(event))


async def _serve(subscriber: Subscriber, message: dict[str, Any]) -> None:
    match message.get("op"):
        case "subscribe":
            topics = _topics(message.get("topics"))
            if topics is None:
                subscriber.put(
                    refusal("Topics are counts, fleet, and runner:, session:, operation:<uuid>; at most 64.")
                )
            else:
                await get_hub().subscribe(subscriber, topics, _position(message), _since(message.get("at")))
        case "ack":
            subscriber.window.acknowledged(message.get("count"))
        case "ping":
            subscriber.put(pong())
        case _:
            subscriber.put(refusal("Operations are subscribe, ack and ping."))


def _topics(names: Any) -> set[str] | None:
    """Return the wanted topics, or None if one is none."""
    if not isinstance(names, list) or not 0 < len(names) <= MAX_TOPICS:
        return None
    return set(names) if all(isinstance(name, str) and _is_topic(name) for name in names) else None


def _is_topic(name: str) -> bool:
    kind, _, key = name.partition(":")
    if kind not in {"runner", "session", "operation"}:
        return name in {COUNTS, FLEET}
    try:
        return str(UUID(key)) == key
    except ValueError:
        return False


def _position(message: dict[str, Any]) -> Position | None:
    sequence, epoch = message.get("sequence"), message.get("epoch")
    return Position(epoch, sequence) if isinstance(sequence, int) and isinstance(epoch, str) else None


def _since(text: Any) -> datetime | None:
    try:
        at = parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo else None


async def _watch_session(scope: Scope) -> None:
    """Return when the user is signed in no longer."""
    while True:
        await asyncio.sleep(RECHECK_SECONDS)
        if not await still_signed_in(scope):
            return
