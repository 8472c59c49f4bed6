"""Ask a node's agent something over the channel layer, and await its answer.

One reply channel serves the whole process: a channel for each question would be a subscription at the broker for each.
"""

import asyncio
import itertools
from asyncio import AbstractEventLoop, Future, Task
from typing import Any
from weakref import WeakKeyDictionary

from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from runners.exceptions import NodeUnreachable

Reply = dict[str, Any]

_lines: "WeakKeyDictionary[AbstractEventLoop, NodeLine]" = WeakKeyDictionary()


async def ask(node: str, question: dict[str, Any], *, timeout: float) -> Reply:  # noqa: ASYNC109 - it is the question's
    """Send `question` to the agent of `node`, and return its answer. Raises NodeUnreachable."""
    loop = asyncio.get_running_loop()
    line = _lines.setdefault(loop, NodeLine())
    return await line.ask(node, question, timeout)


class NodeLine:
    """This event loop's reply channel, and who waits at it."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._waiting: dict[int, Future[Reply]] = {}
        self._receiver: Task[None] | None = None
        self._channel = ""
        self._opening = asyncio.Lock()

    async def ask(self, node: str, question: dict[str, Any], limit: float) -> Reply:
        number = next(self._ids)
        answer: Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(limit):
                await self._open()
                message = {**question, "reply": self._channel, "id": number}
                await get_channel_layer().group_send(f"node.{node}", message)
                return await answer
        except TimeoutError:
            raise NodeUnreachable(f"{node} does not answer.", node=node) from None
        except (OSError, RedisError) as error:
            raise NodeUnreachable(f"{node} cannot be asked: {error}", node=node) from error
        finally:
            del self._waiting[number]

    async def _open(self) -> None:
        async with self._opening:
            if self._receiver is None or self._receiver.done():
                self._channel = await get_channel_layer().new_channel("answers")
                self._receiver = asyncio.create_task(self._receive(self._channel))

    async def _receive(self, channel: str) -> None:
        layer = get_channel_layer()
        while True:
            message = await layer.receive(channel)
            answer = self._waiting.get(message.get("id", 0))
            if answer is not None and not answer.done():
                answer.set_result(message)
