"""One socket's side of the hub: what it follows, and a short queue that never becomes a backlog."""

import asyncio
from dataclasses import dataclass, field

from dashboard.window import Window

#: Messages waiting for one socket. At most four come a second, so this is some eight seconds of not reading.
QUEUE_LENGTH = 32
#: Messages sent ahead of the client's acknowledgement.
WINDOW = 16


@dataclass(eq=False)
class Subscriber:
    """A socket as the hub sees it."""

    topics: set[str] = field(default_factory=set)
    #: Ready JSON; None: it fell behind and needs a snapshot.
    queue: asyncio.Queue[str | None] = field(default_factory=lambda: asyncio.Queue(QUEUE_LENGTH))
    window: Window = field(default_factory=lambda: Window(WINDOW))
    behind: bool = False

    def put(self, message: str) -> None:
        """Queue a message, or, when the queue is full, drop the backlog for one snapshot."""
        if self.behind:
            return
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            while not self.queue.empty():
                self.queue.get_nowait()
            self.behind = True
            self.queue.put_nowait(None)
