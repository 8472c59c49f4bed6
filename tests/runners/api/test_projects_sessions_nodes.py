"""Projects, sessions, nodes and the usage ledger over the API."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from runners.models import Message, Node, Project, ResourceQuota, Runner, Session, UsageEntry
from runners.states import CostSource, NodeStatus, ProjectStatus, Role, RunnerStatus
from tests.callers import operator, reader
from tests.runners.factories import make_node, make_project, make_runner

pytestmark = pytest.mark.django_db
V1 = "/api/v1"


def say(runner: Runner, count: int, **fields: Any) -> list[Message]:
    return [
        Message.objects.create(
            session=Session.objects.get(runners=runner),
            runner=runner,
            key=f"key-{number}",
            **{"role": Role.ASSISTANT, "text": f"line {number}", "at": timezone.now(), **fields},
        )
        for number in range(count)
    ]


def test_a_project_is_made_over_a_directory_that_exists(workspace: Callable[[str], Path]) -> None:
    path = workspace("shop")
    client = operator()
    wanted = {"name": "shop", "path": str(path), "tags": ["web"], "max_concurrent_runners": 2}
    answer = client.post(f"{V1}/projects/", wanted, format="json")
    assert answer.status_code == 201, answer.content
    body = client.get(f"{V1}/projects/shop/").json()
    assert body == answer.json()
    assert (body["tags"], body["max_concurrent_runners"], body["status"]) == (["web"], 2, "active")


def test_a_path_outside_the_roots_is_refused() -> None:
    answer = operator().post(f"{V1}/projects/", {"name": "etc", "path": "/etc"}, format="json")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/path_not_allowed")
    assert not Project.objects.exists()


def test_a_name_that_is_taken_is_refused(workspace: Callable[[str], Path]) -> None:
    make_project(name="shop")
    answer = operator().post(f"{V1}/projects/", {"name": "shop", "path": str(workspace("other"))}, format="json")
    assert answer.status_code == 422
    assert list(answer.json()["errors"]) == ["name"]


def test_a_patch_changes_only_what_it_names() -> None:
    make_project(name="shop", description="old", tags=["web"])
    client = operator()
    body = client.patch(f"{V1}/projects/shop/", {"max_concurrent_runners": 9}, format="json").json()
    assert (body["max_concurrent_runners"], body["description"], body["tags"]) == (9, "old", ["web"])
    body = client.patch(f"{V1}/projects/shop/", {"description": "", "tags": []}, format="json").json()
    assert (body["max_concurrent_runners"], body["description"], body["tags"]) == (9, "", [])
    assert client.patch(f"{V1}/projects/shop/", {"path": "/etc"}, format="json").status_code == 400


def test_a_project_without_a_quota_of_its_own_has_the_default() -> None:
    make_project(name="shop")
    number = reader().get(f"{V1}/projects/shop/").json()["max_concurrent_runners"]
    assert number == ResourceQuota.DEFAULT_MAX_CONCURRENT_RUNNERS


def test_a_project_with_open_runners_is_not_archived() -> None:
    project = make_project(name="shop")
    runner = make_runner(project=project)
    client = operator()
    answer = client.post(f"{V1}/projects/shop/archive/")
    assert (answer.status_code, answer.json()["open"]) == (409, 1)
    Runner.objects.filter(pk=runner.pk).update(status=RunnerStatus.TERMINATED, ended_at=timezone.now())
    answer = client.post(f"{V1}/projects/shop/archive/")
    assert (answer.status_code, answer.json()["status"]) == (200, ProjectStatus.ARCHIVED)


def test_the_projects_list_counts_runners_in_the_same_queries(django_assert_num_queries: Any) -> None:
    project = make_project(name="a", quota=3)
    make_runner(project=project)
    make_runner(project=project, status=RunnerStatus.FAILED, ended_at=timezone.now())
    for _ in range(9):
        make_project()
    client = reader()
    with django_assert_num_queries(4):
        rows = client.get(f"{V1}/projects/").json()["results"]
    assert len(rows) == 10
    assert (rows[0]["runner_count"], rows[0]["active_runner_count"]) == (2, 1)


def test_messages_are_read_on_from_the_last_one_that_was_read() -> None:
    runner = make_runner()
    say(runner, 5)
    address = f"{V1}/sessions/{runner.session_id}/messages/"
    client = reader()
    first = client.get(address, {"page_size": 3}).json()
    assert [row["text"] for row in first["results"]] == ["line 0", "line 1", "line 2"]
    second = client.get(first["next"]).json()
    assert ([row["text"] for row in second["results"]], second["next"]) == (["line 3", "line 4"], None)
    last = second["next_after"]
    assert client.get(address, {"after": last}).json() == {"next": None, "next_after": last, "results": []}
    Message.objects.create(
        session=Session.objects.get(runners=runner),
        runner=runner,
        key="new",
        role=Role.USER,
        text="more",
        at=timezone.now(),
    )
    assert [row["text"] for row in client.get(address, {"after": last}).json()["results"]] == ["more"]
    assert [row["text"] for row in client.get(address, {"role": "user"}).json()["results"]] == ["more"]


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "page_size=0", "after=99999999999999999999999", "role=nobody"]
)
def test_a_position_that_is_no_number_is_refused(query: str) -> None:
    runner = make_runner()
    assert reader().get(f"{V1}/sessions/{runner.session_id}/messages/?{query}").status_code == 400


def test_sessions_tell_their_runners_and_totals_in_the_same_queries(django_assert_num_queries: Any) -> None:
    for _ in range(10):
        make_runner()
    runner = Runner.objects.order_by("-session__started_at")[0]
    assert runner.session is not None
    runner.session.input_tokens, runner.session.cost_usd = 12, Decimal("0.5")
    runner.session.save()
    client = reader()
    with django_assert_num_queries(6):
        rows = client.get(f"{V1}/sessions/").json()["results"]
    assert len(rows) == 10
    assert rows[0]["runner_ids"] == [str(runner.pk)]
    assert (rows[0]["usage"]["total_tokens"], rows[0]["usage"]["cost_source"]) == (12, "unknown")
    assert rows[1]["usage"]["total_tokens"] is None


def test_nodes_tell_their_slots_in_the_same_queries(django_assert_num_queries: Any) -> None:
    node = make_node(name="a", slots=4)
    make_runner(node=node)
    for _ in range(5):
        make_node()
    client = reader()
    with django_assert_num_queries(4):
        rows = client.get(f"{V1}/nodes/").json()["results"]
    assert (rows[0]["slots"], rows[0]["occupied"]) == (4, 1)


def test_a_drained_node_takes_no_launch_until_it_is_undrained() -> None:
    project, node = make_project(), make_node(name="north")
    launch = {"project": project.name, "backend": "command", "argv": ["true"]}
    client = operator()
    assert client.post(f"{V1}/nodes/north/drain/").json()["status"] == "draining"
    answer = client.post(f"{V1}/runners/", launch, format="json")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/no_node_available")
    assert client.post(f"{V1}/nodes/north/undrain/").json()["status"] == "online"
    assert client.post(f"{V1}/runners/", launch, format="json").status_code == 201
    assert reader().post(f"{V1}/nodes/north/drain/").status_code == 403
    node.refresh_from_db()
    assert node.status == NodeStatus.ONLINE


def test_a_silent_node_comes_out_of_draining_as_offline() -> None:
    make_node(name="north", status=NodeStatus.DRAINING, last_seen_at=timezone.now() - timedelta(minutes=5))
    assert operator().post(f"{V1}/nodes/north/undrain/").json()["status"] == "offline"
    assert Node.objects.get().status == NodeStatus.OFFLINE


def test_the_ledger_is_listed_and_narrowed(django_assert_num_queries: Any) -> None:
    one, two = make_runner(), make_runner()
    for number, runner in enumerate((one, two, two)):
        UsageEntry.objects.create(
            session=Session.objects.get(runners=runner), runner=runner, key=str(number), source=CostSource.UNKNOWN
        )
    client = reader()
    with django_assert_num_queries(4):
        assert client.get(f"{V1}/usage/").json()["count"] == 3
    assert client.get(f"{V1}/usage/", {"runner": str(two.pk)}).json()["count"] == 2
    assert client.get(f"{V1}/usage/", {"project": one.project.name}).json()["count"] == 1
    assert client.get(f"{V1}/usage/", {"source": "reported"}).json()["count"] == 0


def test_what_holds_limits_on_a_node_is_told() -> None:
    make_node(control_group={"path": "/sys/fs/cgroup/x", "controllers": ["memory", "pids"], "kill": True})
    (node,) = reader().get(f"{V1}/nodes/").json()["results"]
    assert node["control_group"]["controllers"] == ["memory", "pids"]
    assert Node.objects.get().limits_label == (
        "memory and pids by the kernel, the rest measured by the shim, ended as a control group"
    )
    assert Node(control_group={}).limits_label == "measured by the shim"
