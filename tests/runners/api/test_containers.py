"""Runners in containers over the API."""

from typing import Any

import pytest
from pytest_django.fixtures import Settings

from tests.callers import operator
from tests.runners.factories import make_node, make_project

pytestmark = pytest.mark.django_db

ENGINE = {"name": "podman", "version": "4.3.1", "rootless": "no"}
IMAGE = "localhost/agents:1"


@pytest.fixture(autouse=True)
def allowed(settings: Settings) -> None:
    settings.CONTAINER_IMAGES = [IMAGE]
    settings.CONTAINER_USERS = ["1000:1000"]


def launch(**fields: str) -> Any:
    body = {"project": make_project().name, "backend": "command", "argv": ["pytest"], "runtime": "container"}
    return operator().post("/api/v1/runners/", {**body, "image": IMAGE, **fields}, format="json")


def test_a_runner_is_launched_in_a_container_whose_program_is_the_images_affair() -> None:
    node = make_node(engine=ENGINE)
    answer = launch(container_user="1000:1000")
    assert answer.status_code == 201, answer.content
    told = answer.json()
    assert (told["runtime"], told["image"], told["network"], told["container_user"], told["node"]) == (
        "container",
        IMAGE,
        "",
        "1000:1000",
        node.name,
    )


def test_a_missing_engine_is_a_problem_of_its_own() -> None:
    node = make_node()
    answer = launch(on_limit="wait")
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/engine_not_found"
    assert answer.json()["detail"] == f"There is no container engine on {node.name}."


def test_what_is_not_allowed_is_refused_at_its_field() -> None:
    make_node(engine=ENGINE)
    answer = launch(network="host")
    assert answer.status_code == 422
    assert answer.json()["field"] == "network"


def test_a_node_tells_its_engine() -> None:
    make_node(engine=ENGINE)
    assert operator().get("/api/v1/nodes/").json()["results"][0]["engine"] == ENGINE
