"""The event stream as Server-Sent Events: against a real web process, and piece by piece."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from outbox.api import event_stream
from outbox.api.event_stream import messages
from outbox.models import Entry
from outbox.services import publish, read_stream
from outbox.services.number import number_committed
from outbox.services.read_stream import Wanted, beginning, read_page
from outbox.services.relay import relay_all
from outbox.services.retention import purge_delivered
from stratavore_site.models import AccessToken
from tests.outbox.sse import ADDRESS, StreamReader, parse
from tests.outbox.stream import wait_for
from tests.stack import Stack

pytestmark = pytest.mark.django_db(transaction=True)
PING = "webhook.ping"


def tell(n: int, *, type: str = PING, **more: Any) -> Entry:
    """Publish an event of a type that the web process knows."""
    data = {"webhook_id": "1", "description": "", "host": "", "actor": "", "reason": "", "n": n, **more}
    with transaction.atomic():
        return publish(type, aggregate=f"a:{n % 5}", subject="test", routing_key=type, data=data)


def numbers(reader: StreamReader) -> list[int]:
    return [event["data"]["n"] for event in reader.events()]


@pytest.fixture
def token() -> str:
    user = User.objects.create_user("reader")
    _, made = AccessToken.objects.create(user=user, name="stream", expiry=timedelta(days=1))
    return str(made)


@pytest.fixture
def web(make_stack: Callable[..., Stack]) -> Stack:
    stack = make_stack(EVENT_STREAMS_PER_USER="2")
    stack.start("web")
    return stack


@pytest.fixture
def read(web: Stack, token: str) -> Iterator[Callable[..., StreamReader]]:
    readers: list[StreamReader] = []

    def start(*, last: int | None = None, **params: Any) -> StreamReader:
        headers = {"Authorization": f"Token {token}", "Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        readers.append(StreamReader(web.url, headers, params).start())
        return readers[-1]

    yield start
    for reader in readers:
        reader.close()


def ready(reader: StreamReader) -> StreamReader:
    wait_for(lambda: reader.messages, what="the beginning of the stream")
    return reader


def test_a_reader_catches_up_and_then_follows_without_any_relay(read: Callable[..., StreamReader]) -> None:
    for n in range(450):
        tell(n)
    reader = read(after=number_committed() - 450)
    wait_for(lambda: len(reader.events()) == 450, what="what was missed")
    tell(450)
    wait_for(lambda: len(reader.events()) == 451, what="what happened meanwhile")
    assert numbers(reader) == list(range(451))
    assert reader.answer_headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reader.answer_headers["x-accel-buffering"] == "no"
    assert [message.id for message in reader.messages[1:]] == [event["sequence"] for event in reader.events()]


def test_a_reader_that_comes_back_again_and_again_loses_nothing_and_repeats_nothing(
    web: Stack, read: Callable[..., StreamReader]
) -> None:
    web.start("worker")
    reader, got = ready(read()), list[int]()
    position = reader.position()
    for lap in range(6):
        for n in range(lap * 50, lap * 50 + 50):
            tell(n)
        wait_for(lambda reader=reader: len(reader.events()) >= 20, what="some events")  # type: ignore[misc]
        reader.close()
        if lap == 3:
            web.kill("web")
        tell(1_000 + lap)
        wait_for(lambda reader=reader: reader.ended, what="the end of the connection")  # type: ignore[misc]
        if lap == 3:
            web.start("web")
        got += numbers(reader)
        position = max(position, reader.position())
        reader = ready(read(last=position))
    wait_for(lambda: len(got) + len(reader.events()) == 306, what="everything")
    got += numbers(reader)
    assert sorted(got) == sorted([*range(300), *range(1_000, 1_006)])


def test_a_reader_hears_of_what_it_asked_for(read: Callable[..., StreamReader]) -> None:
    reader = ready(read(types="webhook.dis*, runner.*", project="shop"))
    tell(1)
    tell(2, type="webhook.disabled", project="other")
    tell(3, type="webhook.disabled", project="shop")
    tell(4, type="webhook.disabled")
    wait_for(lambda: len(reader.events()) == 2, what="the wanted events")
    assert numbers(reader) == [3, 4]


def test_a_user_has_so_many_streams_and_no_more(read: Callable[..., StreamReader]) -> None:
    first, _ = ready(read()), ready(read())
    third = read()
    wait_for(lambda: third.ended, what="the refusal")
    assert third.status == 429
    first.close()
    tell(1)
    wait_for(lambda: first.ended, what="the end of the first")

    def let_in() -> bool:
        reader = read()
        wait_for(lambda: reader.messages or reader.ended, what="an answer")
        return reader.status == 200

    wait_for(let_in, what="a place for another stream")


def test_a_stream_is_not_for_strangers_and_wrong_words_are_refused(web: Stack, token: str) -> None:
    assert httpx.get(web.url + ADDRESS).status_code == 401
    headers = {"Authorization": f"Token {token}", "Accept": "text/event-stream"}
    for query in ({"after": "-1"}, {"after": "x"}, {"types": "no.such"}, {"types": "Runner'; --"}):
        answer = httpx.get(web.url + ADDRESS, headers=headers, params=query)
        assert answer.status_code == 400
        assert answer.json()["type"] == "/problems/validation"
    assert httpx.get(web.url + ADDRESS, headers={**headers, "Last-Event-ID": "abc"}).status_code == 400


def test_a_browser_reads_with_its_session(web: Stack) -> None:
    client = APIClient()
    client.force_login(User.objects.create_user("ada"))
    cookie = client.cookies["sessionid"].value
    reader = ready(StreamReader(web.url, {"Cookie": f"sessionid={cookie}"}).start())
    tell(1)
    wait_for(lambda: numbers(reader) == [1], what="the event")
    reader.close()


# --- Piece by piece ---


def asked_by(user: User) -> Any:
    """A request as far as the stream looks at it."""
    return SimpleNamespace(user=user, successful_authenticator=None)


async def some(stream: AsyncGenerator[bytes], count: int) -> list[Any]:
    async with aclosing(stream) as open_stream:
        found = []
        async for message in open_stream:
            found.append(parse(message.decode().removesuffix("\n\n")))
            if len(found) == count:
                break
        return found


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ada")


def test_silence_is_broken_by_a_comment_that_carries_the_position(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.2)
    tell(1)
    end = number_committed()
    found = asyncio.run(some(messages(asked_by(user), end - 1, Wanted(["runner.*"])), 3))
    assert [message.comment for message in found] == ["", "still here", "still here"]
    assert found[1].id == end


def test_an_answer_ends_after_so_many_bytes_and_the_next_one_goes_on(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MAX_ANSWER_BYTES", 5_000)
    for n in range(30):
        tell(n, text="x" * 700)
    position, got, answers = number_committed() - 30, list[int](), 0
    while len(got) < 30:
        found = asyncio.run(some(messages(asked_by(user), position, Wanted()), 31 - len(got)))
        got += [message.data["data"]["n"] for message in found if message.data]
        position = found[-1].id
        answers += 1
    assert got == list(range(30))
    assert answers > 4


def test_a_stream_ends_once_its_user_may_not_read_any_more(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "RECHECK_SECONDS", 0.0)
    tell(1)
    found = asyncio.run(some(messages(asked_by(user), number_committed() - 1, Wanted()), 99))
    assert [message.data["data"]["n"] for message in found if message.data] == [1]


def test_a_revoked_token_and_a_closed_session_are_noticed(token: str, settings: Settings) -> None:
    from rest_framework.request import Request
    from rest_framework.settings import api_settings
    from rest_framework.test import APIRequestFactory

    classes: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    authenticators = [each() for each in classes]
    plain = APIRequestFactory().get(ADDRESS, headers={"Authorization": f"Token {token}"})
    request = Request(plain, authenticators=authenticators)
    assert request.user.is_authenticated
    assert event_stream.still_signed_in(request)
    AccessToken.objects.all().delete()
    assert not event_stream.still_signed_in(request)


def test_a_position_that_is_no_longer_kept_is_answered_by_a_reset(user: User, settings: Settings) -> None:
    for n in range(4):
        tell(n)
    relay_all()
    start = number_committed() - 4
    old = timezone.now() - timedelta(days=settings.OUTBOX_RETENTION_DAYS, minutes=1)
    Entry.objects.filter(sequence__lte=start + 2).update(delivered_at=old)
    # What is dead stays, however old: it must not hide that its neighbours are gone.
    Entry.objects.filter(sequence=start + 1).update(status="dead", delivered_at=None, error="e", attempts=1)
    assert purge_delivered() == 1
    found = asyncio.run(some(messages(asked_by(user), start + 1, Wanted()), 4))
    assert [message.event for message in found] == ["message", "reset", "message", "message"]
    assert found[1].data["after"] == start + 1
    assert [message.data["data"]["n"] for message in found[2:]] == [2, 3]
    assert beginning(start + 2).reset == ""
    assert beginning(0).reset == ""


def test_a_position_of_another_database_is_answered_by_a_reset(user: User) -> None:
    tell(1)
    end = number_committed()
    found = asyncio.run(some(messages(asked_by(user), end + 1_000_000, Wanted()), 3))
    assert (found[1].event, found[1].data["continues_after"]) == ("reset", 0)
    assert found[2].data["data"]["n"] == 1


def test_a_filter_that_lets_little_pass_looks_in_steps_and_gets_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_stream, "WINDOW", 10)
    monkeypatch.setattr(read_stream, "PAGE", 3)
    for n in range(40):
        tell(n, type="webhook.disabled" if n % 8 == 0 else PING)
    position, got = number_committed() - 40, list[int]()
    while position < number_committed():
        page = read_page(position, Wanted(["webhook.disabled"]))
        got += [event.payload["n"] for event in page.events]
        assert page.reached > position
        position = page.reached
    assert got == [0, 8, 16, 24, 32]
