"""A reader of Server-Sent Events over a real connection, as a browser is one."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx

ADDRESS = "/api/v1/events/stream"


@dataclass
class Message:
    id: int | None = None
    event: str = "message"
    data: Any = None
    comment: str = ""


def parse(block: str) -> Message:
    """Return one block of the stream as a message."""
    message = Message()
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                message.id = int(value)
            case "event":
                message.event = value
            case "data":
                message.data = json.loads(value)
            case "":
                message.comment = value
    return message


@dataclass
class StreamReader:
    """Reads in a thread until closed, or until the server ends."""

    base: str
    headers: dict[str, str]
    params: dict[str, Any] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    status: int = 0
    answer_headers: httpx.Headers = field(default_factory=httpx.Headers)
    ended: bool = False
    _stop: bool = False

    def start(self) -> "StreamReader":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            with httpx.stream(
                "GET", self.base + ADDRESS, headers=self.headers, params=self.params, timeout=60
            ) as response:
                self.status, self.answer_headers = response.status_code, response.headers
                rest = ""
                for text in response.iter_text():
                    *blocks, rest = (rest + text).split("\n\n")
                    self.messages += [parse(block) for block in blocks]
                    if self._stop:
                        return
        except httpx.TransportError:
            return  # the server was killed
        finally:
            self.ended = True

    def events(self) -> list[dict[str, Any]]:
        return [message.data for message in self.messages if message.event == "message" and message.data is not None]

    def position(self) -> int:
        """Return the last id that was read."""
        return max(message.id for message in self.messages if message.id is not None)

    def close(self) -> None:
        """Stop with the next bytes that come; a heartbeat is one."""
        self._stop = True
