"""The hub: one for each web process. It learns of changes, reads them once, and hands ready JSON to every socket.

It hears of changes from the channel layer (push.py), and looks at the database each second besides, so that what the
browsers show is true even while the broker is away. Sockets are no channel-layer consumers: Channels makes a thread
hop for each message and socket, which costs a factor of twelve in deliveries a second.
"""

import asyncio
from asyncio import AbstractEventLoop, Task
from contextlib import suppress
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from dashboard import push, stream
from dashboard.changes import Changes, Noted, read_changes, read_missed, read_snapshot
from dashboard.stream import Position
from dashboard.subscribers import Subscriber
from outbox.live import end

#: At most four updates a second: more is not seen by people.
FLUSH_INTERVAL_SECONDS = 0.25
#: The safety tick.
TICK_SECONDS = 1.0
RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)
_hubs: "WeakKeyDictionary[AbstractEventLoop, Hub]" = WeakKeyDictionary()


def get_hub() -> "Hub":
    """Return this process's hub; it belongs to the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]


class Hub:
    """Follows the stream while there are sockets."""

    def __init__(self) -> None:
        self._subscribers: set[Subscriber] = set()
        self._tasks: list[Task[None]] = []
        self._position = Position("", 0)
        self._noted = Noted()
        self._nudged = asyncio.Event()
        # Reading and queueing are one step: else an older row could be queued behind a newer one.
        self._reading = asyncio.Lock()

    async def join(self, subscriber: Subscriber) -> None:
        """Add a socket; the first one starts the hub."""
        self._subscribers.add(subscriber)
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._listen())]

    async def leave(self, subscriber: Subscriber) -> None:
        """Remove a socket; the last one stops the hub."""
        self._subscribers.discard(subscriber)
        if self._subscribers or not self._tasks:
            return
        tasks, self._tasks = self._tasks, []
        await end(tasks)
        self._position = Position("", 0)

    async def subscribe(
        self, subscriber: Subscriber, topics: set[str], position: Position | None, since: datetime | None
    ) -> None:
        """Follow `topics` from `position` on: what was missed is queued at once, or a snapshot."""
        async with self._reading:
            subscriber.topics = topics
            missed = await _missed(position, since)
            if missed is None:
                await self._put_snapshot(subscriber)
            else:
                _put(subscriber, missed, always=True)

    async def snapshot(self, subscriber: Subscriber) -> None:
        """Queue a snapshot for a socket that fell behind, and let it follow again."""
        async with self._reading:
            subscriber.behind = False
            await self._put_snapshot(subscriber)

    async def _put_snapshot(self, subscriber: Subscriber) -> None:
        changes, complete = await _read(read_snapshot, sorted(subscriber.topics))
        for topic in sorted(subscriber.topics):
            message = changes.message(topic, "snapshot", complete=complete)
            if message:
                subscriber.put(message)

    # --- Following the stream ---

    async def _follow(self) -> None:
        while True:
            try:
                await self._flush()
            except Exception:
                # Whatever it was, the views must not stand still for good.
                log.exception("live_read_failed")
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(FLUSH_INTERVAL_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._nudged.wait(), TICK_SECONDS - FLUSH_INTERVAL_SECONDS)

    async def _flush(self) -> None:
        async with self._reading:
            self._nudged.clear()
            end = await _read(stream.advance)
            if end.epoch != self._position.epoch or end.sequence < self._position.sequence:
                await self._start_over(end)
            while end.sequence > self._position.sequence or self._noted:
                changes = await _read(read_changes, self._position, end, self._noted.take())
                self._position = changes.position
                self._hand_out(changes)

    async def _start_over(self, end: Position) -> None:
        """Take up a stream that is new to the hub; who followed another one gets a snapshot."""
        known, self._position = self._position.epoch, end
        if known:
            for subscriber in self._subscribers:
                await self._put_snapshot(subscriber)

    def _hand_out(self, changes: Changes) -> None:
        messages: dict[str, str | None] = {}
        for subscriber in self._subscribers:
            for topic in subscriber.topics:
                if topic not in messages:
                    messages[topic] = changes.message(topic)
                message = messages[topic]
                if message:
                    subscriber.put(message)

    # --- Hearing of changes ---

    async def _listen(self) -> None:
        while True:
            try:
                await self._receive()
            except (OSError, RedisError) as error:
                log.warning("live_layer_unavailable", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _receive(self) -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel("live")
        await layer.group_add(push.GROUP, channel)
        try:
            while True:
                self._note(await layer.receive(channel))
        finally:
            with suppress(OSError, RedisError):
                await layer.group_discard(push.GROUP, channel)

    def _note(self, message: dict[str, Any]) -> None:
        if message["type"] == "live.observed":
            self._noted.observed |= {str(values[0]): values for values in message.get("rows", ())}
            self._noted.sessions |= {str(session) for session in message.get("sessions", ())}
        self._nudged.set()


async def _missed(position: Position | None, since: datetime | None) -> Changes | None:
    """Return what a client at `position` missed, or None when only a snapshot will do."""
    if position is None:
        return None
    end = await _read(stream.advance)
    if position.epoch != end.epoch or position.sequence > end.sequence:
        return None
    missed: Changes | None = await _read(read_missed, position.sequence, since)
    return missed


def _put(subscriber: Subscriber, changes: Changes, *, always: bool = False) -> None:
    """Queue one message a topic. `always`: an empty one too, as the answer to a subscription."""
    for topic in sorted(subscriber.topics):
        message = changes.message(topic) or (changes.message(topic, "delta", caught_up=True) if always else None)
        if message:
            subscriber.put(message)


async def _read(function: Any, *args: Any) -> Any:
    # Not thread-sensitive: the hub must not queue behind the requests of one thread.
    return await database_sync_to_async(function, thread_sensitive=False)(*args)
