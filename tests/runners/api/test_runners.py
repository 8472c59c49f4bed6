"""Runners over the API: launch, list, steer."""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from outbox.models import Entry
from runners.models import Runner, RunnerMove, Session, UsageEntry
from runners.states import CostSource, RunnerStatus
from tests.callers import client_of, make_user, operator, reader
from tests.runners.factories import make_node, make_project, make_runner

pytestmark = pytest.mark.django_db
RUNNERS = "/api/v1/runners/"


def use(runner: Runner, **fields: Any) -> UsageEntry:
    defaults = {"key": str(uuid.uuid4()), "input_tokens": 10, "output_tokens": 5, "source": CostSource.UNKNOWN}
    return UsageEntry.objects.create(
        session=Session.objects.get(runners=runner), runner=runner, **{**defaults, **fields}
    )


def test_a_launch_answers_201_with_the_runner_and_its_address() -> None:
    project, node = make_project(), make_node()
    client = operator()
    answer = client.post(RUNNERS, {"project": project.name, "backend": "command", "argv": ["true"]}, format="json")
    assert answer.status_code == 201, answer.content
    runner = Runner.objects.get()
    body = answer.json()
    assert (body["id"], body["status"], body["project"], body["node"]) == (
        str(runner.pk),
        "starting",
        project.name,
        node.name,
    )
    assert answer["Location"] == f"http://testserver{RUNNERS}{runner.pk}/"
    assert client.get(answer["Location"]).json() == body
    assert RunnerMove.objects.get().actor == "user:operator"
    assert runner.requested_by is not None
    assert runner.requested_by.username == body["requested_by"] == "operator"


def test_a_launch_by_token_names_the_token_in_the_history() -> None:
    project, _ = make_project(), make_node()
    make_user("ci-user", "runners.add_runner", password="correct horse battery")
    client = client_of()
    made = client.post(
        "/api/v1/auth/token/",
        {"username": "ci-user", "password": "correct horse battery", "name": "nightly"},
        format="json",
    ).json()
    client.credentials(HTTP_AUTHORIZATION=f"Token {made['token']}")
    answer = client.post(RUNNERS, {"project": project.name, "backend": "command", "argv": ["true"]}, format="json")
    assert answer.status_code == 201, answer.content
    assert RunnerMove.objects.get().actor == "token:ci-user/nightly"


def test_the_values_of_the_environment_are_never_told() -> None:
    project, _ = make_project(), make_node()
    launch = {
        "project": project.name,
        "backend": "command",
        "argv": ["true"],
        "environment": {"API_KEY": "s3cret-value"},
    }
    client = operator()
    answer = client.post(RUNNERS, launch, format="json")
    assert answer.json()["environment_names"] == ["API_KEY"]
    assert b"s3cret-value" not in answer.content
    assert b"s3cret-value" not in client.get(RUNNERS).content


def test_a_full_quota_is_a_conflict_that_tells_the_numbers() -> None:
    project, _ = make_project(quota=1), make_node()
    make_runner(project=project)
    answer = operator().post(RUNNERS, {"project": project.name, "backend": "command", "argv": ["true"]}, format="json")
    assert answer.status_code == 409
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body == {
        "type": "/problems/quota_exceeded",
        "title": "The project's quota is full",
        "status": 409,
        "detail": f"{project.name} has 1 of 1 runners: its quota is full.",
        "used": 1,
        "limit": 1,
    }
    assert Runner.objects.count() == 1


def test_an_unknown_flag_is_refused_with_the_field_named() -> None:
    project, _ = make_project(), make_node()
    launch = {"project": project.name, "backend": "claude_code", "prompt": "hello", "flags": ["--nonsense"]}
    answer = operator().post(RUNNERS, launch, format="json")
    assert answer.status_code == 422
    body = answer.json()
    assert (body["type"], body["field"]) == ("/problems/invalid_request", "flags")
    assert list(body["errors"]) == ["flags"]


@pytest.mark.parametrize(
    ("launch", "field"),
    [
        ({"backend": "command", "argv": ["true"]}, "project"),
        ({"project": "x", "backend": "command", "argv": "true"}, "argv"),
        ({"project": "x", "backend": "command", "promt": "a typo"}, "promt"),
        ({"project": "x", "backend": "command", "grace_seconds": -1}, "grace_seconds"),
        ({"project": "x", "backend": "command", "session_id": "no uuid"}, "session_id"),
        ({"project": "x", "backend": "command", "prompt": "nul\x00"}, "prompt"),
    ],
)
def test_a_malformed_launch_is_400_with_its_fields(launch: dict[str, Any], field: str) -> None:
    answer = operator().post(RUNNERS, launch, format="json")
    assert answer.status_code == 400
    assert field in answer.json()["errors"]


def test_who_may_only_read_cannot_launch_or_steer() -> None:
    runner = make_runner()
    client = reader()
    assert client.get(RUNNERS).status_code == 200
    for address in (RUNNERS, f"{RUNNERS}{runner.pk}/stop/", f"{RUNNERS}{runner.pk}/pause/"):
        answer = client.post(address, {}, format="json")
        assert answer.status_code == 403
        assert "runners." in answer.json()["detail"]
    assert Runner.objects.get().status == RunnerStatus.RUNNING


def test_one_permission_is_enough_for_its_act() -> None:
    runner = make_runner()
    client = client_of(make_user("pilot", "runners.change_runner"))
    assert client.post(f"{RUNNERS}{runner.pk}/stop/", {}, format="json").status_code == 202
    assert client.post(RUNNERS, {}, format="json").status_code == 403


def test_a_stop_writes_the_wish_and_sends_the_grace_to_the_node() -> None:
    runner = make_runner()
    answer = operator().post(f"{RUNNERS}{runner.pk}/stop/", {"grace_seconds": 0}, format="json")
    assert (answer.status_code, answer.json()["status"]) == (202, "stopping")
    task = Entry.objects.get(type="runners.tasks.stop_runner")
    assert task.data == {"args": [str(runner.pk), 1, 0]}


def test_an_ended_runner_is_stopped_without_a_change() -> None:
    runner = make_runner(status=RunnerStatus.TERMINATED, ended_at=timezone.now())
    answer = operator().post(f"{RUNNERS}{runner.pk}/stop/", {}, format="json")
    assert (answer.status_code, answer.json()["status"]) == (202, "terminated")
    assert not Entry.objects.exists()


def test_a_refused_move_is_a_conflict_that_tells_the_state() -> None:
    runner = make_runner(status=RunnerStatus.STARTING)
    answer = operator().post(f"{RUNNERS}{runner.pk}/pause/")
    assert answer.status_code == 409
    body = answer.json()
    assert (body["type"], body["status"], body["state"]) == ("/problems/move_refused", 409, "starting")


def test_pause_and_resume_are_sent_to_the_node() -> None:
    client = operator()
    running, paused = make_runner(), make_runner(status=RunnerStatus.PAUSED)
    assert client.post(f"{RUNNERS}{running.pk}/pause/").status_code == 202
    assert client.post(f"{RUNNERS}{paused.pk}/resume/").status_code == 202
    assert set(Entry.objects.values_list("type", flat=True)) == {
        "runners.tasks.pause_runner",
        "runners.tasks.resume_runner",
    }


def test_an_unknown_runner_is_a_404_problem() -> None:
    client = operator()
    for address in (f"{RUNNERS}{uuid.uuid4()}/", f"{RUNNERS}nonsense/"):
        answer = client.get(address)
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_the_history_is_listed_oldest_first() -> None:
    runner = make_runner()
    client = operator()
    client.post(f"{RUNNERS}{runner.pk}/stop/", {}, format="json")
    moves = client.get(f"{RUNNERS}{runner.pk}/moves/").json()["results"]
    assert [(move["from_status"], move["to_status"], move["actor"]) for move in moves] == [
        ("running", "stopping", "user:operator")
    ]


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()["results"]]


def test_the_list_is_narrowed_by_each_filter() -> None:
    now = timezone.now()
    shop, node = make_project(name="shop"), make_node(name="north")
    one = make_runner(name="one", project=shop, created_at=now - timedelta(hours=3), prompt="Fix the cart")
    make_runner(name="two", node=node, status=RunnerStatus.PAUSED, created_at=now - timedelta(hours=2))
    make_runner(
        name="three", backend="demo", status=RunnerStatus.FAILED, ended_at=now, created_at=now - timedelta(hours=1)
    )
    client = reader()
    assert names(client.get(RUNNERS)) == ["three", "two", "one"]
    for query, expected in (
        ({"status": ["running", "paused"]}, ["two", "one"]),
        ({"open": "true"}, ["two", "one"]),
        ({"open": "false"}, ["three"]),
        ({"project": "shop"}, ["one"]),
        ({"node": "north"}, ["two"]),
        ({"backend": "demo"}, ["three"]),
        ({"session": str(one.session_id)}, ["one"]),
        ({"id": f"{one.pk},{uuid.uuid4()}"}, ["one"]),
        ({"created_after": (now - timedelta(minutes=150)).isoformat()}, ["three", "two"]),
        ({"created_before": (now - timedelta(minutes=150)).isoformat()}, ["one"]),
        ({"search": "cart"}, ["one"]),
    ):
        assert names(client.get(RUNNERS, query)) == expected, query


@pytest.mark.parametrize("query", ["status=nonsense", "session=nonsense", "id=1", "created_after=tomorrow"])
def test_a_filter_value_that_is_none_is_400_not_ignored(query: str) -> None:
    answer = reader().get(f"{RUNNERS}?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0] in answer.json()["errors"]


def test_pages_follow_each_other_without_repeats() -> None:
    at = timezone.now()
    made = {str(make_runner(created_at=at).pk) for _ in range(5)}
    client = reader()
    first = client.get(RUNNERS, {"page_size": 2}).json()
    assert (first["count"], len(first["results"]), first["previous"]) == (5, 2, None)
    seen, page = [row["id"] for row in first["results"]], first
    while page["next"]:
        page = client.get(page["next"]).json()
        seen += [row["id"] for row in page["results"]]
    assert len(seen) == 5
    assert set(seen) == made


def test_tokens_and_cost_are_null_while_nothing_was_reported() -> None:
    runner = make_runner()
    usage = reader().get(f"{RUNNERS}{runner.pk}/").json()["usage"]
    assert usage["cost_source"] == "unknown"
    assert {value for name, value in usage.items() if name != "cost_source"} == {None}


def test_a_runner_has_its_own_share_of_the_session() -> None:
    one = make_runner()
    two = make_runner(project=one.project, node=one.node, session=one.session)
    use(one, cost_usd=Decimal("0.25"), source=CostSource.REPORTED)
    use(one, cost_usd=Decimal("0.50"), source=CostSource.REPORTED)
    use(two, input_tokens=1)
    client = reader()
    first, second = (client.get(f"{RUNNERS}{runner.pk}/").json()["usage"] for runner in (one, two))
    assert (first["input_tokens"], first["total_tokens"]) == (20, 30)
    assert (Decimal(first["cost_usd"]), first["cost_source"]) == (Decimal("0.75"), "reported")
    assert (second["input_tokens"], second["cost_usd"], second["cost_source"]) == (1, None, "unknown")


def test_a_cost_that_lacks_a_part_is_unknown_until_a_later_entry_settles_it() -> None:
    runner = make_runner()
    use(runner)
    use(runner, cost_usd=Decimal("0.10"), source=CostSource.REPORTED)
    client = reader()
    usage = client.get(f"{RUNNERS}{runner.pk}/").json()["usage"]
    assert (Decimal(usage["cost_usd"]), usage["cost_source"]) == (Decimal("0.10"), "unknown")
    first, last = UsageEntry.objects.order_by("pk")
    UsageEntry.objects.filter(pk=first.pk).update(settled_by=last)
    assert client.get(f"{RUNNERS}{runner.pk}/").json()["usage"]["cost_source"] == "reported"


def test_an_observation_of_an_older_attempt_is_not_shown() -> None:
    runner = make_runner()
    client = reader()
    assert client.get(f"{RUNNERS}{runner.pk}/").json()["observation"]["generation"] == 1
    Runner.objects.update(generation=2)
    assert client.get(f"{RUNNERS}{runner.pk}/").json()["observation"] is None


def test_the_list_takes_the_same_queries_for_many_runners(django_assert_num_queries: Any) -> None:
    client = reader()
    for _ in range(20):
        use(make_runner())
    # Session and user of the caller, the count, the runners, their usage.
    with django_assert_num_queries(5):
        assert len(client.get(RUNNERS).json()["results"]) == 20


def test_a_launch_may_wait_is_told_its_place_and_is_started_again_after_its_end() -> None:
    make_node()
    project, client = make_project(quota=0), operator()
    request = {"project": project.name, "backend": "command", "argv": ["true"], "on_limit": "wait", "priority": 3}
    waiting = client.post(RUNNERS, request, format="json").json()
    assert (waiting["status"], waiting["node"], waiting["priority"]) == ("queued", None, 3)
    address = f"{RUNNERS}{waiting['id']}/"
    assert client.get(f"{address}queue/").json() == {"position": 1}
    assert client.post(f"{address}stop/").json()["status"] == "terminated"
    assert client.get(f"{address}queue/").json() == {"position": None}
    assert client.post(f"{address}restart/").json()["type"] == "/problems/quota_exceeded"
    project.quota.max_concurrent_runners = 1
    project.quota.save()
    again = client.post(f"{address}restart/")
    assert (again.status_code, again.json()["status"], again.json()["generation"]) == (202, "starting", 2)
    attempts = client.get(f"{address}attempts/").json()["results"]
    assert [(attempt["generation"], attempt["status"]) for attempt in attempts][-1] == (2, "starting")
    assert client.post(f"{address}restart/").status_code == 409
