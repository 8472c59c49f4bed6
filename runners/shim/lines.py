"""Bytes in, lines out: with a limit, so that a program that never ends a line cannot fill the memory."""


class Lines:
    """Splits a stream at newlines. A line over `limit` bytes comes in pieces, all but the last marked as partial."""

    __slots__ = ("_buffer", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """Return the (line, is_partial) pairs that `data` completes."""
        lines: list[tuple[bytes, bool]] = []
        buffer, scan, start = self._buffer, len(self._buffer), 0
        buffer += data
        # What was there before holds no newline: it is not searched again.
        while (end := buffer.find(b"\n", scan)) >= 0:
            lines.append((bytes(buffer[start:end]), False))
            start = scan = end + 1
        del buffer[:start]
        while len(buffer) > self.limit:
            cut = self._character_boundary()
            lines.append((bytes(buffer[:cut]), True))
            del buffer[:cut]
        return lines

    def _character_boundary(self) -> int:
        """Return where to cut at the limit without parting the bytes of a UTF-8 character."""
        for cut in range(self.limit, max(0, self.limit - 4), -1):
            if self._buffer[cut] & 0xC0 != 0x80:
                return cut
        return self.limit

    def rest(self) -> list[tuple[bytes, bool]]:
        """Return what stands after the last newline, as a line of its own, if anything."""
        data, self._buffer = bytes(self._buffer), bytearray()
        return [(data, False)] if data else []
