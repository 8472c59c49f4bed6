"""Serve the output and input of this node's runners to viewers, over the channel layer.

Viewers pull: each asks for what comes after a byte offset of output.cast, and asks again when it has shown it. So a
slow viewer holds up nobody, a gap is seen and refilled, and the node keeps nothing in memory for anyone.
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from channels.layers import get_channel_layer

from runners.runtimes import get_runtime

log = structlog.get_logger(__name__)

_RUN = re.compile(r"[0-9a-f]{32}\.[1-9][0-9]{0,9}")
#: A request with nothing new to show is answered empty after this long; the viewer asks again.
HOLD_SECONDS = 10.0
MAX_READ_BYTES = 256 * 1024
#: No line of output.cast is longer: the shim reads at most 64 kB at once, and JSON makes at most six of one byte.
MAX_LINE_BYTES = 1 << 20


class Terminals:
    """Answers the viewers of one node's runners."""

    def __init__(self, node_name: str, runs: Path) -> None:
        self.group = f"node.{node_name}"
        self.runs = runs
        self._grown: dict[str, asyncio.Event] = {}
        self._requests: set[asyncio.Task[None]] = set()

    def output_grew(self, run: str) -> None:
        """Answer those who wait for more of this run."""
        if event := self._grown.pop(run, None):
            event.set()

    async def serve(self) -> None:
        """Answer requests until cancelled."""
        layer = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add(self.group, channel)
        while True:
            message = await layer.receive(channel)
            request = asyncio.create_task(self._answer(message))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)

    async def _answer(self, message: Mapping[str, Any]) -> None:
        try:
            reply = await self._reply_to(message)
        except (OSError, ValueError) as error:
            reply = {"type": "terminal.error", "error": str(error)}
        reply["id"] = message.get("id")
        await get_channel_layer().send(message["reply"], reply)

    async def _reply_to(self, message: Mapping[str, Any]) -> dict[str, Any]:
        run = str(message["run"])
        if not _RUN.fullmatch(run):
            raise ValueError("There is no such run.")
        directory = self.runs / run
        runtime = get_runtime("process")
        match message["type"]:
            case "terminal.read":
                limit = min(int(message["limit"]), MAX_READ_BYTES)
                return await self._read(run, int(message["offset"]), limit, hold=bool(message.get("hold", True)))
            case "terminal.input":
                await asyncio.to_thread(runtime.input, directory, str(message["data"]))
            case "terminal.resize":
                await asyncio.to_thread(
                    runtime.resize, directory, columns=int(message["columns"]), rows=int(message["rows"])
                )
            case unknown:
                raise ValueError(f"A terminal does not know {unknown!r}.")
        return {"type": "terminal.done"}

    async def _read(self, run: str, offset: int, limit: int, *, hold: bool) -> dict[str, Any]:
        """Answer with what there is; with `hold`, wait for it a while."""
        path = self.runs / run / "output.cast"
        # Registered before the read: output that comes between the read and the wait is not missed.
        grown = self._grown.setdefault(run, asyncio.Event()) if hold else asyncio.Event()
        start, data = await asyncio.to_thread(read_lines, path, offset, limit)
        over = (self.runs / run / "exit.json").exists()
        if hold and not data and not over:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(grown.wait(), HOLD_SECONDS)
            start, data = await asyncio.to_thread(read_lines, path, start, limit)
            over = (self.runs / run / "exit.json").exists()
        return {
            "type": "terminal.data",
            "offset": start,
            "next": start + len(data),
            "data": data.decode(errors="replace"),
            "eof": over and not data,
        }


def read_lines(path: Path, offset: int, limit: int) -> tuple[int, bytes]:
    """Return whole lines of at most about `limit` bytes from `offset`, and where they begin; offset -1: the last ones.

    A file that is not there yet has no lines.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if offset < 0:
                offset = max(0, size - limit)
                file.seek(offset)
                if offset:
                    offset += len(file.readline(MAX_LINE_BYTES))  # begin at a line's beginning
            file.seek(offset)
            data = file.read(limit)
            if data and b"\n" not in data:
                data += file.readline(MAX_LINE_BYTES)
    except FileNotFoundError:
        return max(offset, 0), b""
    return offset, data[: data.rfind(b"\n") + 1]
