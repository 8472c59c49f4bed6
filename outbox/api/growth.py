"""How far the stream reaches, for all readers of one web process: one look at the database serves them all."""

import asyncio
from asyncio import AbstractEventLoop, Task
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from weakref import WeakKeyDictionary

import structlog
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.db import DatabaseError
from redis.exceptions import RedisError

from outbox.live import GREW, GROUP, end
from outbox.services.number import number_committed

#: The safety look: news of the stream may be lost, and with the broker away no relay sends any.
LOOK_SECONDS = 1.0

log = structlog.get_logger(__name__)
_growths: "WeakKeyDictionary[AbstractEventLoop, Growth]" = WeakKeyDictionary()


def get_growth() -> "Growth":
    """Return this process's growth; it belongs to the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _growths:
        _growths[loop] = Growth()
    return _growths[loop]


class Growth:
    """Follows the end of the stream while there are readers."""

    def __init__(self) -> None:
        self.end = 0
        self._readers = 0
        self._tasks: list[Task[None]] = []
        self._grown = asyncio.Event()

    @asynccontextmanager
    async def followed(self) -> AsyncIterator["Growth"]:
        """Follow the stream inside the block."""
        self._readers += 1
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._listen())]
        try:
            yield self
        finally:
            self._readers -= 1
            await self._rest()

    async def past(self, position: int, *, seconds: float) -> bool:
        """Return whether the stream reaches past `position`, at the latest after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.end <= position:
                    await self._grown.wait()
        return self.end > position

    async def _rest(self) -> None:
        if self._readers or not self._tasks:
            return
        tasks, self._tasks, self.end = self._tasks, [], 0
        await end(tasks)

    async def _look(self) -> None:
        while True:
            try:
                self._reach(await database_sync_to_async(number_committed, thread_sensitive=False)())
            except DatabaseError as error:
                log.warning("stream_look_failed", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _listen(self) -> None:
        while True:
            try:
                await self._receive()
            except (OSError, RedisError) as error:
                log.warning("stream_layer_unavailable", error=str(error))
                await asyncio.sleep(LOOK_SECONDS)

    async def _receive(self) -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel("stream")
        await layer.group_add(GROUP, channel)
        try:
            while True:
                message = await layer.receive(channel)
                if message["type"] == GREW:
                    self._reach(message["sequence"])
        finally:
            with suppress(OSError, RedisError):
                await layer.group_discard(GROUP, channel)

    def _reach(self, end: int) -> None:
        if end > self.end:
            self.end = end
            # Wakes whoever waits now; who comes later looks at `end` first.
            self._grown.set()
            self._grown = asyncio.Event()
