"""Send no more than a client reads."""

import asyncio


class Window:
    """Counts what was sent and not yet acknowledged.

    A server buffers what a client does not read, so sending never pushes back by itself: only the client's own word
    tells that it keeps up.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._in_flight = 0
        self._open = asyncio.Event()
        self._open.set()

    async def room(self) -> None:
        """Wait until the client has acknowledged enough to be sent more."""
        await self._open.wait()

    def sent(self) -> None:
        self._in_flight += 1
        if self._in_flight >= self._size:
            self._open.clear()

    def acknowledged(self, count: object) -> None:
        """Note that the client has read `count` more messages; what is no count is none."""
        if isinstance(count, int):
            self._in_flight = max(self._in_flight - max(count, 0), 0)
        if self._in_flight < self._size:
            self._open.set()
