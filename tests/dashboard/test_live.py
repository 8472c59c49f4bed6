"""The live websocket, with a real database and a real channel layer."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone

from dashboard import push
from dashboard.changes import MAX_ENTRIES
from dashboard.hub import get_hub
from dashboard.sockets import SIGNED_OUT
from dashboard.stream import Position
from dashboard.subscribers import QUEUE_LENGTH, WINDOW
from outbox.models import Entry
from runners.models import Runner, Session
from runners.states import RunnerStatus
from runners.transitions import move
from tests.dashboard.sockets import Socket, present_position, socket_of
from tests.runners.factories import make_runner

pytestmark = pytest.mark.django_db(transaction=True)


async def make(**fields: Any) -> Runner:
    return await sync_to_async(make_runner)(**fields)


async def pause(runner: Runner) -> None:
    await sync_to_async(move)(runner.pk, RunnerStatus.PAUSED, generation=1, actor="user:ada")


async def resume(runner: Runner) -> None:
    await sync_to_async(move)(runner.pk, RunnerStatus.RUNNING, generation=1, actor="user:ada")


async def follow(socket: Socket, *topics: str) -> dict[str, Any]:
    await socket.subscribe(*topics)
    return await socket.read()


async def test_a_change_reaches_the_socket_without_anybody_telling(operator: User) -> None:
    runner = await make()
    async with socket_of(operator) as socket:
        await follow(socket, "fleet")
        await pause(runner)
        row = await socket.row(runner.pk, status="paused")
    assert row["status_label"] == "Paused"
    assert row["cost"] == "unknown"


async def test_counts_and_the_feed_follow_a_change(operator: User) -> None:
    runner = await make()
    async with socket_of(operator) as socket:
        await follow(socket, "fleet")
        await pause(runner)
        message = await socket.read_until(lambda message: message.get("events"))
    assert (message["counts"]["paused"], message["counts"]["running"]) == (1, 0)
    assert (message["events"][0]["who"], message["events"][0]["text"]) == (runner.name, "is paused")
    assert message["sequence"] == message["events"][-1]["sequence"]


async def test_a_new_socket_starts_from_a_snapshot(operator: User) -> None:
    runner = await make()
    async with socket_of(operator) as socket:
        message = await follow(socket, "fleet")
    assert message["op"] == "snapshot"
    assert message["complete"]
    assert [row["id"] for row in message["rows"]] == [str(runner.pk)]


async def test_what_happened_while_the_connection_was_lost_is_caught_up_with(operator: User) -> None:
    runner, other = await make(), await make()
    await pause(other)
    async with socket_of(operator) as socket:
        place = await follow(socket, "fleet")
    await pause(runner)
    async with socket_of(operator) as socket:
        await socket.subscribe("fleet", place=Position(place["epoch"], place["sequence"]))
        message = await socket.read()
    assert message["op"] == "delta"
    assert {row["id"]: row["status"] for row in message["rows"]} == {str(runner.pk): "paused"}
    assert [event["text"] for event in message["events"]] == ["is paused"]
    assert message["sequence"] > place["sequence"]


async def test_a_session_that_grew_meanwhile_is_caught_up_with_by_time(operator: User) -> None:
    runner = await make()
    before = timezone.now()
    await pause(runner)
    place = await present_position()
    await Session.objects.filter(runners=runner).aupdate(
        last_message_at=before + timedelta(seconds=1), input_tokens=1500, message_count=3
    )
    async with socket_of(operator) as socket:
        await socket.subscribe("fleet", f"session:{runner.session_id}", place=place, at=before.isoformat())
        row = await socket.row(runner.pk)
        message = await socket.read_until(lambda message: message.get("sessions"))
    assert row["tokens"] == "1.5k"
    assert message["sessions"][0]["messages"] == 3


async def test_a_position_of_another_stream_is_answered_by_a_snapshot(operator: User) -> None:
    await pause(await make())
    place = await present_position()
    async with socket_of(operator) as socket:
        await socket.subscribe("counts", place=Position("another", place.sequence))
        assert (await socket.read())["op"] == "snapshot"
        await socket.subscribe("counts", place=Position(place.epoch, place.sequence + 1000))
        assert (await socket.read())["op"] == "snapshot"
        await socket.subscribe("counts", place=place)
        assert (await socket.read())["op"] == "delta"


async def test_too_much_missed_is_answered_by_a_snapshot(operator: User) -> None:
    runner = await make()
    await pause(runner)
    place = await present_position()
    await sync_to_async(_add_events)(runner, MAX_ENTRIES + 1)
    async with socket_of(operator) as socket:
        await socket.subscribe("fleet", place=place)
        assert (await socket.read())["op"] == "snapshot"


def _add_events(runner: Runner, count: int) -> None:
    model = Entry.objects.events().latest("id")
    Entry.objects.bulk_create(
        Entry(
            kind=model.kind,
            type=model.type,
            aggregate=model.aggregate,
            lane=model.lane,
            subject=model.subject,
            routing_key=model.routing_key,
            data=model.data,
        )
        for _ in range(count)
    )


async def test_a_reader_that_falls_behind_gets_one_snapshot_in_place_of_the_backlog(operator: User) -> None:
    runner = await make()
    await pause(runner)
    await present_position()
    async with socket_of(operator) as socket:
        await follow(socket, "fleet")
        socket.acknowledges = False
        hub = get_hub()
        subscriber = next(iter(hub._subscribers))
        for number in range(WINDOW + QUEUE_LENGTH + 5):
            await (resume if number % 2 == 0 else pause)(runner)
            await hub._flush()
        assert subscriber.behind
        assert subscriber.queue.qsize() == 1
        for _ in range(WINDOW):
            assert (await socket.read())["op"] == "delta"
        await socket.send(op="ack", count=WINDOW)
        messages = [await socket.read()]
        while messages[-1]["op"] != "snapshot":
            messages.append(await socket.read())
        runner = await Runner.objects.aget(pk=runner.pk)
        assert messages[-1]["rows"][0]["status"] == runner.status
        # One message may have been on its way already; the backlog itself is gone.
        assert len(messages) <= 2


async def test_heartbeats_reach_the_socket_formatted(operator: User) -> None:
    runner = await make()
    async with socket_of(operator) as socket:
        await follow(socket, f"runner:{runner.pk}")
        await heard(socket)
        now = timezone.now().isoformat()
        await push.observed({"node": "n", "rows": [[str(runner.pk), 12.34, 640.2, 3, 2048, now]], "sessions": []})
        row = await socket.row(runner.pk, cpu="12 %")
    assert (row["memory"], row["processes"], row["output"], row["cpu_percent"]) == ("640 MB", "3", "2.0 kB", 12.3)


async def heard(socket: Socket) -> None:
    """Wait until the hub hears the channel layer: joining takes a moment after the first socket."""
    hub = get_hub()
    async with asyncio.timeout(5):
        while True:
            hub._nudged.clear()
            await push._send({"type": "live.grew", "sequence": 0})
            try:
                await asyncio.wait_for(hub._nudged.wait(), 0.2)
            except TimeoutError:
                continue
            return


async def test_new_messages_of_a_session_are_told_to_its_followers_alone(operator: User) -> None:
    runner, other = await make(), await make()
    async with socket_of(operator) as socket:
        await follow(socket, f"session:{runner.session_id}")
        await heard(socket)
        await Session.objects.filter(runners=runner).aupdate(message_count=7)
        sessions = [str(runner.session_id), str(other.session_id)]
        await push.observed({"node": "n", "rows": [], "sessions": sessions})
        message = await socket.read_until(lambda message: message["op"] == "delta" and message.get("sessions"))
    assert [(row["id"], row["messages"]) for row in message["sessions"]] == [(str(runner.session_id), 7)]


async def test_topics_are_kept_apart(operator: User) -> None:
    runner, other = await make(), await make()
    async with socket_of(operator) as socket:
        await follow(socket, f"runner:{runner.pk}")
        await pause(other)
        await pause(runner)
        message = await socket.read_until(lambda message: message.get("events"))
    assert {row["id"] for row in message["rows"]} == {str(runner.pk)}
    assert "counts" not in message


async def test_an_anonymous_socket_is_closed_with_a_code_that_says_so() -> None:
    async with socket_of(None) as socket:
        assert await socket.closed_with() == SIGNED_OUT


async def test_a_socket_from_another_site_is_refused(operator: User) -> None:
    with pytest.raises(AssertionError):
        async with socket_of(operator, origin="https://evil.example"):
            pass


@pytest.mark.parametrize(
    "message",
    [
        {"op": "subscribe", "topics": ["everything"]},
        {"op": "subscribe", "topics": ["runner:1"]},
        {"op": "subscribe", "topics": []},
        {"op": "subscribe", "topics": ["fleet"] * 65},
        {"op": "subscribe", "topics": [["fleet"]]},
        {"op": "launch"},
        {},
    ],
)
async def test_a_message_that_makes_no_sense_is_answered_with_an_error(operator: User, message: dict[str, Any]) -> None:
    async with socket_of(operator) as socket:
        await socket.send(**message)
        assert (await socket.read())["op"] == "error"
        await socket.send(op="ping")
        assert (await socket.read())["op"] == "pong"


async def test_the_hub_rests_when_nobody_looks(operator: User) -> None:
    async with socket_of(operator) as socket:
        await follow(socket, "counts")
        assert get_hub()._tasks
    assert not get_hub()._tasks
