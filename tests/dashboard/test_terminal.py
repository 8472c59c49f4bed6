"""The terminal websocket, against the node agent's own answering and a real channel layer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User

from dashboard.attempts import output_as_text, present_attempt
from dashboard.node_agents import ask
from dashboard.sockets import NOT_FOUND, SIGNED_OUT
from outbox.models import AuditEntry
from runners.exceptions import NodeUnreachable
from runners.models import Runner
from runners.node_agent.terminals import Terminals
from tests.dashboard.sockets import Socket, socket_of
from tests.runners.factories import make_runner

pytestmark = pytest.mark.django_db(transaction=True)

MISSING = "00000000-0000-0000-0000-000000000000"


class Recording:
    """The run directory of a runner, as a shim leaves it."""

    def __init__(self, runs: Path, runner: Runner) -> None:
        assert runner.node is not None
        self.runner = runner
        self.node = runner.node.name
        self.runs = runs
        self.run = f"{runner.pk.hex}.{runner.generation}"
        self.path = runs / self.run / "output.cast"
        self.path.parent.mkdir(parents=True)
        self.write({"version": 2, "width": 100, "height": 30})

    @property
    def address(self) -> str:
        return f"/ws/runners/{self.runner.pk}/terminal/"

    def write(self, *lines: Any) -> None:
        with self.path.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def say(self, text: str) -> None:
        self.write([1.0, "o", text])

    def end(self) -> None:
        (self.path.parent / "exit.json").write_text("{}")

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Terminals]:
        """Answer for the node."""
        terminals = Terminals(self.node, self.runs)
        task = asyncio.create_task(terminals.serve())
        try:
            await self._answered()
            yield terminals
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _answered(self) -> None:
        """Wait until the node is heard: joining a group takes a moment."""
        question = {"type": "terminal.read", "run": self.run, "offset": 0, "limit": 10}
        async with asyncio.timeout(10):
            while True:
                with suppress(NodeUnreachable):
                    await ask(self.node, question, timeout=0.2)
                    return


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path, make_runner())


async def shown(socket: Socket, wanted: str) -> str:
    """Read until the output holds `wanted`; return all of it so far."""
    text = ""
    while wanted not in text:
        message = await socket.read()
        text += message.get("data", "")
        if message["op"] == "at":
            await socket.send(op="ack", count=1)
    return text


async def op(socket: Socket, name: str) -> dict[str, Any]:
    return await socket.read_until(lambda message: message["op"] == name)


async def test_output_is_shown_made_harmless(operator: User, recording: Recording) -> None:
    recording.say("\x1b[32mgreen\x1b[0m \x1b]52;c;AAAA")
    recording.say("AAAA\x07done")
    async with recording.served(), socket_of(operator, recording.address) as socket:
        hello = await op(socket, "hello")
        size = await op(socket, "size")
        text = await shown(socket, "done")
    assert (hello["writable"], hello["truncated"]) == (True, False)
    assert (size["columns"], size["rows"]) == (100, 30)
    assert text == "\x1b[32mgreen\x1b[0m done"


async def test_new_output_follows_at_once(operator: User, recording: Recording) -> None:
    recording.say("one")
    async with recording.served() as terminals, socket_of(operator, recording.address) as socket:
        await shown(socket, "one")
        recording.say("two")
        async with asyncio.timeout(5):
            reading = asyncio.create_task(shown(socket, "two"))
            while not reading.done():
                terminals.output_grew(recording.run)
                await asyncio.sleep(0.05)
        assert await reading == "two"


async def test_a_viewer_goes_on_where_it_was(operator: User, recording: Recording) -> None:
    recording.say("before")
    async with recording.served():
        async with socket_of(operator, recording.address) as socket:
            await shown(socket, "before")
            place = await op(socket, "at")
        recording.say("after")
        async with socket_of(operator, f"{recording.address}?offset={place['offset']}&generation=1") as socket:
            assert await shown(socket, "after") == "after"


async def test_a_place_in_an_older_attempt_is_no_place_in_this_one(operator: User, recording: Recording) -> None:
    recording.say("all of it")
    async with recording.served(), socket_of(operator, f"{recording.address}?offset=40&generation=7") as socket:
        assert await shown(socket, "all of it") == "all of it"


async def test_the_end_is_told_after_the_last_output(operator: User, recording: Recording) -> None:
    recording.say("last words")
    recording.end()
    async with recording.served(), socket_of(operator, recording.address) as socket:
        await shown(socket, "last words")
        assert (await op(socket, "end"))["op"] == "end"


async def test_a_browser_that_does_not_draw_is_not_buried(operator: User, recording: Recording) -> None:
    for _ in range(20):
        recording.say("x" * 60_000)
    async with recording.served(), socket_of(operator, recording.address) as socket:
        chunks = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                while True:
                    chunks += (await socket.read())["op"] == "at"
        assert 0 < chunks <= 4


async def test_a_reader_may_not_type(reader: User, recording: Recording) -> None:
    async with recording.served(), socket_of(reader, recording.address) as socket:
        assert (await op(socket, "hello"))["writable"] is False
        await socket.send(op="input", data="rm -rf /\n")
        assert "not type into it" in (await op(socket, "refused"))["error"]
        await socket.send(op="resize", columns=80, rows=20)
        assert "not type into it" in (await op(socket, "refused"))["error"]


@pytest.mark.parametrize(
    "message",
    [
        {"op": "input"},
        {"op": "input", "data": ""},
        {"op": "input", "data": "x" * 20_000},
        {"op": "resize", "columns": 1, "rows": 1},
        {"op": "resize", "columns": 10_000, "rows": 20},
        {"op": "other"},
    ],
)
async def test_a_message_that_makes_no_sense_is_refused(
    operator: User, recording: Recording, message: dict[str, Any]
) -> None:
    async with recording.served(), socket_of(operator, recording.address) as socket:
        await socket.send(**message)
        assert "no message of a terminal" in (await op(socket, "refused"))["error"]


async def test_input_to_a_runner_whose_shim_is_gone_is_refused_with_a_reason(
    operator: User, recording: Recording
) -> None:
    async with recording.served(), socket_of(operator, recording.address) as socket:
        await socket.send(op="input", data="hello\n")
        assert recording.node in (await op(socket, "refused"))["error"]


async def test_who_types_is_on_record_once_for_a_socket(operator: User, recording: Recording) -> None:
    async with recording.served(), socket_of(operator, recording.address) as socket:
        for _ in range(2):
            await socket.send(op="input", data="hello\n")
            await op(socket, "refused")

    def recorded() -> list[tuple[str, str, str]]:
        return list(AuditEntry.objects.filter(action="runner.type").values_list("actor", "source", "target_id"))

    who = f"user:{operator.get_username()}"
    assert await database_sync_to_async(recorded)() == [(who, "page", str(recording.runner.pk))]


async def test_a_node_that_does_not_answer_is_told_and_asked_again(
    operator: User, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.terminal.READ_TIMEOUT_SECONDS", 0.3)
    recording.say("there again")
    async with socket_of(operator, recording.address) as socket:
        assert "does not answer" in (await op(socket, "trouble"))["error"]
        async with recording.served():
            await op(socket, "well")
            await shown(socket, "there again")


async def test_a_runner_that_is_not_there_has_no_terminal(operator: User) -> None:
    async with socket_of(operator, f"/ws/runners/{MISSING}/terminal/") as socket:
        assert await socket.closed_with() == NOT_FOUND


async def test_an_anonymous_viewer_is_closed_out(recording: Recording) -> None:
    async with socket_of(None, recording.address) as socket:
        assert await socket.closed_with() == SIGNED_OUT


async def test_the_end_of_the_output_is_had_as_text(recording: Recording) -> None:
    recording.say("\x1b[1mten\x1b[0m\r\n")
    recording.say("eleven\r\n")
    attempt = await database_sync_to_async(present_attempt)(recording.runner.pk)
    assert attempt is not None
    async with recording.served():
        assert await output_as_text(attempt) == "ten\neleven\n"
