"""Which node a runner goes to: one with its labels and its program, and of such the emptiest."""

from typing import Any

import pytest

from runners.backends.base import LaunchRequest
from runners.exceptions import InvalidRequest, NoNodeAvailable, ProgramNotFound
from runners.models import Project, Runner
from runners.services import launch_runner, restart_runner
from runners.services.queue import start_queued
from runners.states import NodeStatus, RunnerStatus
from runners.transitions import move
from tests.callers import operator
from tests.runners.factories import make_node, make_project, make_runner

pytestmark = pytest.mark.django_db
S = RunnerStatus
CLAUDE = {"claude_code": {"path": "/bin/claude", "version": "2"}}


def launch(project: Project | None = None, **fields: Any) -> Runner:
    request = LaunchRequest(**{"backend": "command", "argv": ["true"], **fields})
    return launch_runner((project or make_project()).name, request, actor="user:ada")


def test_a_runner_goes_to_the_emptiest_node_that_has_all_its_labels() -> None:
    make_node(slots=99, labels=["gpu"])
    make_node(slots=99)
    project = make_project()
    small, large = make_node(slots=1, labels=["gpu", "eu"]), make_node(slots=3, labels=["eu", "ssd", "gpu"])
    placed = [launch(project, labels=["gpu", "eu"]).node for _ in range(4)]
    assert placed[:2] == [large, large]
    assert set(placed[2:]) == {small, large}


def test_a_label_that_no_node_has_is_named_and_told_from_a_full_node() -> None:
    full = make_node(name="full", slots=1, labels=["gpu"])
    make_node(name="roomy", labels=["eu"])
    make_runner(node=full)
    with pytest.raises(NoNodeAvailable, match=r"^No node has the label tpu\.$") as refusal:
        launch(labels=["gpu", "tpu"])
    assert refusal.value.facts["missing_labels"] == ["tpu"]
    with pytest.raises(NoNodeAvailable, match=r"^No node has the labels gpu and eu together\.$"):
        launch(labels=["gpu", "eu"])
    with pytest.raises(
        NoNodeAvailable, match=r"^No node with the label gpu has a free slot: full is online with 1 of 1 slots taken\.$"
    ):
        launch(labels=["gpu"])
    assert Runner.objects.count() == 1


def test_a_node_with_the_program_is_chosen_before_a_larger_one_without() -> None:
    make_node(slots=99)
    equipped = make_node(slots=1, programs=CLAUDE)
    project = make_project()
    assert launch(project, backend="claude_code", argv=[], prompt="hi").node == equipped
    # Taken: it could wait for this node, so it is no matter of a missing program.
    with pytest.raises(NoNodeAvailable, match=equipped.name):
        launch(project, backend="claude_code", argv=[], prompt="hi")


def test_a_program_that_only_nodes_without_the_label_have_is_refused() -> None:
    make_node(programs=CLAUDE)
    make_node(name="bare", labels=["gpu"])
    with pytest.raises(ProgramNotFound, match="not installed on bare"):
        launch(backend="claude_code", argv=[], prompt="hi", labels=["gpu"], on_limit="wait")


@pytest.mark.parametrize("label", ["", "two words", "a,b", "x" * 61, "\0"])
def test_what_no_node_could_have_as_a_label_is_refused(label: str) -> None:
    make_node()
    with pytest.raises(InvalidRequest, match="one word"):
        launch(labels=[label], on_limit="wait")


def test_one_that_waits_for_a_label_does_not_hold_up_the_others_and_starts_when_a_node_has_it() -> None:
    node = make_node(slots=0)
    project = make_project(quota=50)
    picky = launch(project, labels=["gpu"], on_limit="wait", priority=9)
    programmed = launch(project, labels=["gpu"], on_limit="wait", priority=8)
    plain = launch(project, on_limit="wait")
    assert picky.reason == "waits: No node has the label gpu."
    node.slots = 5
    node.save()
    assert start_queued() == 1
    assert [Runner.objects.get(pk=r.pk).status for r in (picky, programmed, plain)] == [S.QUEUED, S.QUEUED, S.STARTING]
    gpu = make_node(labels=["gpu"], slots=5)
    assert start_queued() == 2
    picky.refresh_from_db()
    assert (picky.status, picky.node, picky.reason) == (S.STARTING, gpu, "")


def test_a_restart_keeps_to_the_labels() -> None:
    first = make_node(labels=["gpu"])
    runner = launch(labels=["gpu"])
    move(runner.pk, S.FAILED, generation=1, actor="system:test")
    first.status = NodeStatus.OFFLINE
    first.save()
    make_node(slots=99)
    with pytest.raises(NoNodeAvailable, match=f"{first.name} is offline"):
        restart_runner(runner.pk, actor="user:ada")
    other = make_node(labels=["gpu"])
    assert restart_runner(runner.pk, actor="user:ada").node == other


def test_labels_go_in_and_come_out_over_the_api() -> None:
    make_node(labels=["gpu"])
    api = operator()
    body = {"project": make_project().name, "backend": "command", "argv": ["true"]}
    answer = api.post("/api/v1/runners/", {**body, "labels": ["gpu"]}, format="json")
    assert (answer.status_code, answer.json()["labels"]) == (201, ["gpu"])
    api.post("/api/v1/runners/", body, format="json")
    assert [r["id"] for r in api.get("/api/v1/runners/?label=gpu").json()["results"]] == [answer.json()["id"]]
    refused = api.post("/api/v1/runners/", {**body, "labels": ["tpu"]}, format="json")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/no_node_available")
    assert refused.json()["missing_labels"] == ["tpu"]


def test_labels_are_typed_in_the_launch_form_and_shown_on_the_runners_page() -> None:
    make_node(labels=["gpu", "eu"])
    browser = operator()
    project = make_project()
    assert "Labels that nodes have: eu, gpu." in browser.get("/launch/").content.decode()
    form = {"project": project.name, "backend": "command", "command": "true", "labels": "gpu, eu"}
    answer = browser.post("/launch/", form)
    assert answer.status_code == 302, answer.content.decode()
    assert "<dt>Labels</dt><dd>gpu, eu</dd>" in browser.get(answer.headers["Location"]).content.decode()
    refused = browser.post("/launch/", {**form, "labels": "tpu"}).content.decode()
    assert "No node has the label tpu." in refused
