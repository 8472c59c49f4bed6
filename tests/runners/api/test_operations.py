"""Operations over the API."""

from typing import Any

import pytest
from django.utils import timezone

from runners.models import Operation
from runners.services.operations import run_operation
from runners.states import RunnerStatus
from tests.callers import client_of, make_user, operator, reader
from tests.runners.factories import make_project, make_runner

pytestmark = pytest.mark.django_db
OPERATIONS = "/api/v1/operations/"


@pytest.fixture
def fleet() -> None:
    project = make_project(name="shop")
    for name, status in (("a", RunnerStatus.RUNNING), ("b", RunnerStatus.RUNNING), ("c", RunnerStatus.FAILED)):
        ended = timezone.now() if status == RunnerStatus.FAILED else None
        make_runner(name=name, project=project, status=status, ended_at=ended)
    make_runner(name="elsewhere")


def post(client: Any, address: str = "", **body: Any) -> Any:
    body = {"verb": "runner.stop", "filter": {"project": "shop"}, **body}
    return client.post(f"{OPERATIONS}{address}", body, format="json")


@pytest.mark.usefixtures("fleet")
def test_a_preview_tells_the_count_and_the_exceptions() -> None:
    answer = post(reader(), "preview/")
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert (body["verb"], body["count"], body["would_do"], body["exception_count"]) == ("runner.stop", 3, 2, 1)
    assert [(item["name"], item["reason"]) for item in body["exceptions"]] == [("c", "It has ended.")]


@pytest.mark.usefixtures("fleet")
def test_an_operation_is_begun_followed_and_its_items_are_told() -> None:
    client = operator()
    answer = post(client, at_most=3, parameters={"grace_seconds": 1})
    assert answer.status_code == 202, answer.content
    body = answer.json()
    assert (body["status"], body["total"], body["actor"]) == ("pending", 3, "user:operator")
    run_operation(Operation.objects.get().pk)
    shown = client.get(answer["Location"]).json()
    assert (shown["status"], shown["done"], shown["skipped"], shown["failed"]) == ("done", 2, 1, 0)
    items = client.get(f"{answer['Location']}items/").json()
    assert {(item["name"], item["result"]) for item in items["results"]} == {
        ("a", "done"),
        ("b", "done"),
        ("c", "skipped"),
    }
    skipped = client.get(f"{answer['Location']}items/?result=skipped").json()
    assert [(item["name"], item["message"]) for item in skipped["results"]] == [("c", "It has ended.")]
    assert client.get(f"{OPERATIONS}?status=done").json()["count"] == 1
    assert client.get(f"{OPERATIONS}?status=running").json()["count"] == 0


@pytest.mark.usefixtures("fleet")
def test_it_takes_the_permission_of_the_verb() -> None:
    assert post(client_of()).status_code == 401
    refused = post(reader())
    assert (refused.status_code, refused.json()["detail"]) == (403, "That needs the permission runners.change_runner.")
    client = client_of(make_user("ann", "runners.change_runner"))
    begun = post(client)
    assert begun.status_code == 202
    cancel = f"{OPERATIONS}{begun.json()['id']}/cancel/"
    assert client_of(make_user("bob")).post(cancel).status_code == 403
    assert client.post(cancel).json()["status"] == "cancelled"


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        ({"verb": "runner.fly"}, 422, "invalid_request"),
        ({"filter": {"colour": "red"}}, 422, "invalid_request"),
        ({"filter": {"project": "nowhere"}}, 409, "operation_refused"),
        ({"at_most": 1}, 409, "operation_refused"),
        ({"filtre": {}}, 400, "validation"),
        ({"filter": None}, 400, "validation"),
        ({"parameters": {"grace_seconds": "long"}}, 422, "invalid_request"),
    ],
)
def test_what_makes_no_sense_begins_nothing(body: dict[str, Any], status: int, problem: str) -> None:
    answer = post(operator(), **body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{problem}")
    assert not Operation.objects.exists()


def test_the_verbs_are_listed() -> None:
    verbs = {verb["name"]: verb for verb in reader().get(f"{OPERATIONS}verbs/").json()}
    assert {"runner.stop", "runner.kill", "runner.pause", "runner.resume", "runner.restart"} <= set(verbs)
    assert verbs["runner.stop"]["parameters"] == ["grace_seconds"]
