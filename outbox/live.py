"""What listeners on the channel layer share: the names by which they hear that the stream has grown, and their end."""

import asyncio
from asyncio import Task
from collections.abc import Iterable

#: The group that each web process joins.
GROUP = "live"
#: Type of the message: {"type": GREW, "sequence": how far the stream reaches}.
GREW = "live.grew"

#: How long a cancelled task is given before it is cancelled once more.
CANCEL_AGAIN_SECONDS = 1.0


async def end(tasks: Iterable[Task[None]]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: a driver that is cancelled while it connects may lose the cancellation and go on waiting.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_SECONDS)
