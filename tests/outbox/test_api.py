import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from outbox.models import Entry
from outbox.services.number import number_committed
from tests.outbox.stream import happen

pytestmark = [pytest.mark.django_db]
EVENTS = "/api/v1/events/"


@pytest.fixture
def client() -> APIClient:
    client = APIClient()
    client.force_authenticate(User.objects.create_user("reader"))
    return client


def numbers(answer: dict[str, list[dict[str, dict[str, int]]]]) -> list[int]:
    return [event["data"]["n"] for event in answer["results"]]


def test_the_stream_can_be_read_to_its_end_in_pages(client: APIClient) -> None:
    for n in range(5):
        happen("a:1", n)
    first = client.get(EVENTS, {"limit": 3}).json()
    second = client.get(first["next"]).json()
    assert numbers(first) + numbers(second) == [0, 1, 2, 3, 4]
    assert second["next"] is None
    assert second["next_after"] == number_committed()
    assert numbers(client.get(EVENTS, {"after": second["next_after"]}).json()) == []
    happen("a:1", 5)
    assert numbers(client.get(EVENTS, {"after": second["next_after"]}).json()) == [5]


def test_an_event_has_the_names_of_its_envelope(client: APIClient) -> None:
    entry = happen("a:1", 1)
    [event] = client.get(EVENTS).json()["results"]
    assert event["id"] == str(entry.event_id)
    assert set(event) == {
        "sequence", "id", "source", "type", "subject", "aggregate", "time", "traceparent", "data",
    }  # fmt: skip


def test_the_stream_is_narrowed_by_type_family_and_aggregate(client: APIClient) -> None:
    happen("a:1", 1)
    happen("a:2", 2)
    assert numbers(client.get(EVENTS, {"aggregate": "a:2"}).json()) == [2]
    assert numbers(client.get(EVENTS, {"type": "test.*"}).json()) == [1, 2]
    assert numbers(client.get(EVENTS, {"type": "test.happened"}).json()) == [1, 2]
    assert numbers(client.get(EVENTS, {"type": "test"}).json()) == []


@pytest.mark.parametrize("query", [{"after": "-1"}, {"after": "x"}, {"limit": "0"}, {"after": "9" * 30}])
def test_a_position_that_is_none_is_refused(client: APIClient, query: dict[str, str]) -> None:
    answer = client.get(EVENTS, query)
    assert answer.status_code == 400
    assert next(iter(query)) in answer.content.decode()


def test_tasks_are_not_in_the_stream(client: APIClient) -> None:
    happen("a:1", 1)
    Entry.objects.update(kind="task")
    assert numbers(client.get(EVENTS).json()) == []


def test_the_stream_is_read_only_and_not_for_strangers(client: APIClient) -> None:
    assert client.post(EVENTS, {}).status_code == 405
    assert APIClient().get(EVENTS).status_code == 401


def test_the_event_types_are_listed(client: APIClient) -> None:
    types = {each["name"]: each for each in client.get("/api/v1/event-types/").json()}
    assert types["test.happened"]["data"] == {"n": "integer"}
    assert "runner.started" in types
