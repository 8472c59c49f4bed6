"""Websockets of the dashboard for tests, as a signed-in browser opens them.

Over asgiref's communicator: that of Channels keeps connections to the database from being closed, and the pool ends.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections

from dashboard.stream import Position, advance

DEADLINE_SECONDS = 10.0


class Socket:
    """One open websocket; acknowledges what it reads, as the page does."""

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        from stratavore_site.asgi import application

        path, _, query = path.partition("?")
        scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": [],
        }
        self._communicator: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]
        self.acknowledges = True

    async def open(self) -> bool:
        await self._communicator.send_input({"type": "websocket.connect"})
        answer = await self._communicator.receive_output(timeout=DEADLINE_SECONDS)
        return bool(answer["type"] == "websocket.accept")

    async def close(self) -> None:
        await self._communicator.send_input({"type": "websocket.disconnect", "code": 1000})
        await self._communicator.wait(timeout=DEADLINE_SECONDS)

    async def send(self, **message: Any) -> None:
        await self._communicator.send_input({"type": "websocket.receive", "text": json.dumps(message)})

    async def subscribe(self, *topics: str, place: Position | None = None, **more: Any) -> None:
        at = {"sequence": place.sequence, "epoch": place.epoch} if place else {}
        await self.send(op="subscribe", topics=list(topics), **at, **more)

    async def read(self) -> dict[str, Any]:
        """Return the next message."""
        message: dict[str, Any] = json.loads((await self._output("websocket.send"))["text"])
        if self.acknowledges and message["op"] in {"delta", "snapshot"}:
            await self.send(op="ack", count=1)
        return message

    async def closed_with(self) -> int:
        return int((await self._output("websocket.close"))["code"])

    async def _output(self, kind: str) -> dict[str, Any]:
        event = await self._communicator.receive_output(timeout=DEADLINE_SECONDS)
        assert event["type"] == kind
        return dict(event)

    async def read_until(self, wanted: Any) -> dict[str, Any]:
        """Return the first message for which `wanted` is true."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not wanted(message := await self.read()):
                continue
        return message

    async def row(self, runner_id: object, **values: Any) -> dict[str, Any]:
        """Return the first row of a runner that has these values."""

        def found(message: dict[str, Any]) -> bool:
            rows = [*message.get("rows", []), *message.get("observed", [])]
            matching = [row for row in rows if row["id"] == str(runner_id) and row | values == row]
            message["found"] = matching
            return bool(matching)

        message = await self.read_until(found)
        return dict(message["found"][0])


@asynccontextmanager
async def socket_of(
    user: User | None, path: str = "/ws/live/", origin: str = "http://localhost"
) -> AsyncIterator[Socket]:
    """Open a websocket of `user`, and close it afterwards."""
    headers = [(b"origin", origin.encode()), (b"host", b"localhost")]
    if user is not None:
        headers.append((b"cookie", (await sync_to_async(_cookie_of)(user)).encode()))
    socket = Socket(path, headers)
    assert await socket.open()
    try:
        yield socket
    finally:
        await socket.close()
        # The thread of sync_to_async outlives the test, and must not hold on to its database.
        await sync_to_async(connections.close_all)()


def _cookie_of(user: User) -> str:
    from tests.dashboard.conftest import signed_in

    return f"{settings.SESSION_COOKIE_NAME}={signed_in(user).cookies[settings.SESSION_COOKIE_NAME].value}"


async def present_position() -> Position:
    """Return where the stream stands."""
    return await sync_to_async(advance)()
