"""Many launches with one request."""

from typing import Any

import pytest

from runners.models import Runner, RunnerMove
from runners.services.launch import MOST_AT_ONCE
from tests.callers import operator, reader
from tests.runners.factories import make_node, make_project

pytestmark = pytest.mark.django_db
BATCH = "/api/v1/runners/batch/"


def launch(project: str, **fields: Any) -> dict[str, Any]:
    return {"project": project, "backend": "command", "argv": ["true"], **fields}


def post(*launches: dict[str, Any], client: Any = None) -> Any:
    return (client or operator()).post(BATCH, {"launches": launches}, format="json")


def test_twelve_cadets_are_launched_by_one_request() -> None:
    project = make_project(quota=20)
    make_node()
    answer = post(launch(project.name, name="cadet", count=12))
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert (body["launched"], body["refused"]) == (12, 0)
    names = [result["runner"]["name"] for result in body["results"]]
    assert names == [f"cadet-{number}" for number in range(1, 13)]
    assert {result["runner"]["status"] for result in body["results"]} == {"starting"}
    assert set(Runner.objects.values_list("name", flat=True)) == set(names)
    assert set(RunnerMove.objects.values_list("actor", flat=True)) == {"user:operator"}


def test_each_is_told_by_itself_what_became_of_it_in_the_order_of_the_request() -> None:
    full, other = make_project(quota=1), make_project()
    make_node()
    answer = post(
        launch(full.name, name="a"),
        launch("nobody-has-it"),
        launch(other.name, name="b"),
        launch(full.name, name="c"),
        launch(full.name, name="d", on_limit="wait"),
    )
    body = answer.json()
    assert (body["launched"], body["refused"]) == (3, 2)
    told = [
        (result["runner"] and (result["runner"]["name"], result["runner"]["status"]), result["refusal"])
        for result in body["results"]
    ]
    assert told == [
        (("a", "starting"), None),
        (None, {"code": "invalid_request", "detail": "There is no project 'nobody-has-it'.", "field": "project"}),
        (("b", "starting"), None),
        (
            None,
            {
                "code": "quota_exceeded",
                "detail": f"{full.name} has 1 of 1 runners: its quota is full.",
                "field": None,
            },
        ),
        (("d", "queued"), None),
    ]


@pytest.mark.parametrize(
    "launches",
    [
        [],
        [{"backend": "command"}],
        [launch("p", count=0)],
        [launch("p", count=MOST_AT_ONCE), launch("p")],
        [launch("p", nonsense=1)],
        "p",
    ],
)
def test_a_request_that_cannot_be_read_is_refused_as_a_whole(launches: Any) -> None:
    answer = operator().post(BATCH, {"launches": launches}, format="json")
    assert answer.status_code == 400
    assert not Runner.objects.exists()


def test_launching_many_needs_the_permission_to_launch_one() -> None:
    project = make_project()
    assert post(launch(project.name), client=reader()).status_code == 403
