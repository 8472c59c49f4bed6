"""Every act of a person, a token or the system is in the audit log, whichever door it came by."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from agents.models import Personality
from outbox.models import AuditEntry, Entry
from outbox.services.number import number_committed
from outbox.states import Status
from runners import tasks
from runners.exceptions import QuotaExceeded
from runners.models import Runner
from runners.runtimes import run_directory
from runners.services import launch_runner
from runners.services.ingest import ingest
from runners.services.start import start_on_node
from runners.services.telemetry import Batch
from runners.states import RunnerStatus
from stratavore_site.models import AccessToken
from tests.callers import client_of, make_user
from tests.outbox.stream import happen
from tests.runners.factories import make_node, make_project, make_runner

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def ada() -> User:
    return make_user("ada", is_staff=True, is_superuser=True)


@pytest.fixture
def api(ada: User) -> APIClient:
    return client_of(ada)


@pytest.fixture
def token(ada: User) -> APIClient:
    """A client that shows a token of ada's."""
    _, secret = AccessToken.objects.create(user=ada, expiry=timedelta(days=1), name="ci")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {secret}")
    return client


@pytest.fixture
def page(ada: User) -> Client:
    client = Client()
    client.force_login(ada)
    return client


def acts() -> list[str]:
    """Return the acts but sign-ins, oldest first."""
    return list(AuditEntry.objects.exclude(action="user.sign_in").order_by("pk").values_list("action", flat=True))


def last() -> AuditEntry:
    return AuditEntry.objects.latest("pk")


def test_a_launch_by_a_token_says_which_and_keeps_no_secret(token: APIClient) -> None:
    make_node()
    project = make_project()
    body = {"project": project.name, "backend": "command", "argv": ["/bin/true"], "environment": {"KEY": "s3cret"}}
    answer = token.post("/api/v1/runners/", body, format="json", REMOTE_ADDR="192.0.2.7")
    assert answer.status_code == 201, answer.content
    act = last()
    assert (act.action, act.actor, act.source, act.ip) == ("runner.launch", "token:ada/ci", "api", "192.0.2.7")
    assert (act.target_type, act.target_id) == ("runner", answer.json()["id"])
    assert act.request_id
    assert act.after is not None
    assert act.after["environment"] == {"KEY": "***"}
    assert act.after["project"] == project.name


def test_a_launch_that_is_refused_is_no_act(api: APIClient) -> None:
    from runners.backends.base import LaunchRequest

    make_node()
    project = make_project(quota=0)
    with pytest.raises(QuotaExceeded):
        launch_runner(project.name, LaunchRequest(backend="command", argv=["/bin/true"]), actor="user:ada")
    assert acts() == []


@pytest.mark.parametrize(
    ("verb", "status", "action"),
    [
        ("stop", RunnerStatus.RUNNING, "runner.stop"),
        ("pause", RunnerStatus.RUNNING, "runner.pause"),
        ("resume", RunnerStatus.PAUSED, "runner.resume"),
    ],
)
def test_steering_is_recorded(api: APIClient, page: Client, verb: str, status: RunnerStatus, action: str) -> None:
    by_api, by_page = make_runner(status=status), make_runner(status=status)
    assert api.post(f"/api/v1/runners/{by_api.pk}/{verb}/").status_code == 202
    assert page.post(f"/runners/{by_page.pk}/{verb}/").status_code == 302
    assert acts() == [action, action]
    assert list(
        AuditEntry.objects.filter(action=action).order_by("pk").values_list("actor", "source", "target_id")
    ) == [
        ("user:ada", "api", str(by_api.pk)),
        ("user:ada", "page", str(by_page.pk)),
    ]


def test_a_stop_without_grace_is_a_kill(api: APIClient) -> None:
    api.post(f"/api/v1/runners/{make_runner().pk}/stop/", {"grace_seconds": 0}, format="json")
    assert acts() == ["runner.kill"]
    assert last().before == {"status": "running"}
    assert last().after == {"status": "stopping", "grace_seconds": 0}


def test_stopping_what_has_ended_is_no_act(api: APIClient) -> None:
    ended = make_runner(status=RunnerStatus.TERMINATED, ended_at=timezone.now())
    api.post(f"/api/v1/runners/{ended.pk}/stop/")
    assert acts() == []


def test_a_restart_is_recorded(api: APIClient) -> None:
    ended = make_runner(argv=["/bin/true"], status=RunnerStatus.TERMINATED, ended_at=timezone.now())
    assert api.post(f"/api/v1/runners/{ended.pk}/restart/").status_code == 202
    assert (acts(), last().after["generation"]) == (["runner.restart"], 2)  # type: ignore[index]


def test_a_project_is_created_changed_and_archived_on_record(api: APIClient, workspace: Callable[[str], Path]) -> None:
    body = {"name": "shop", "path": str(workspace("shop")), "max_concurrent_runners": 3}
    assert api.post("/api/v1/projects/", body, format="json").status_code == 201
    api.patch("/api/v1/projects/shop/", {"max_concurrent_runners": 9}, format="json")
    assert (last().before, last().after) == ({"max_concurrent_runners": 3}, {"max_concurrent_runners": 9})
    api.patch("/api/v1/projects/shop/", {"max_concurrent_runners": 9}, format="json")
    api.post("/api/v1/projects/shop/archive/")
    api.post("/api/v1/projects/shop/archive/")
    assert acts() == ["project.create", "project.change", "project.archive"]


def test_draining_is_recorded_once(api: APIClient) -> None:
    node = make_node()
    for verb in ("drain", "drain", "undrain", "undrain"):
        api.post(f"/api/v1/nodes/{node.name}/{verb}/")
    assert acts() == ["node.drain", "node.undrain"]
    assert (last().target_id, last().before) == (node.name, {"status": "draining"})


def test_personalities_and_agents_are_on_record(api: APIClient) -> None:
    api.patch("/api/v1/personalities/cadet/", {"work_style": "Slowly."}, format="json")
    assert (last().target_id, last().after) == ("cadet", {"work_style": "Slowly."})
    new = {"name": "poet", "description": "Writes verse.", "default_backend": "command"}
    assert api.post("/api/v1/personalities/", new, format="json").status_code == 201
    api.delete("/api/v1/personalities/poet/")
    api.post("/api/v1/agents/", {"personality": "cadet", "name": "anna"}, format="json")
    api.post("/api/v1/agents/anna/retire/")
    assert acts() == [
        "personality.change",
        "personality.create",
        "personality.delete",
        "agent.create",
        "agent.retire",
    ]
    assert not Personality.objects.filter(name="poet").exists()


def test_dead_letters_are_retried_and_purged_on_record(page: Client) -> None:
    entries = [happen("a:1", 1), happen("a:2", 2)]
    number_committed()
    Entry.objects.update(status=Status.DEAD, attempts=1, error="e")
    for action, entry in zip(("retry_selected", "purge_selected"), entries, strict=True):
        page.post("/admin/outbox/entry/", {"action": action, "_selected_action": [entry.pk]})
    assert acts() == ["outbox.retry", "outbox.purge"]
    assert (last().actor, last().source) == ("user:ada", "admin")
    assert last().before == {"count": 1, "events": [str(entries[1].event_id)]}


def test_signing_in_and_out_and_failing_to_is_on_record(ada: User) -> None:
    ada.set_password(PASSWORD)
    ada.save()
    client = Client()
    client.post("/login/", {"username": "ada", "password": "wrong"}, REMOTE_ADDR="192.0.2.7")
    assert (last().action, last().actor, last().target_id, last().ip) == (
        "user.sign_in_failed",
        "anonymous",
        "ada",
        "192.0.2.7",
    )
    client.post("/login/", {"username": "ada", "password": PASSWORD})
    assert (last().action, last().actor, last().source) == ("user.sign_in", "user:ada", "page")
    client.post("/logout/")
    assert (last().action, last().actor) == ("user.sign_out", "user:ada")
    assert "wrong" not in str(list(AuditEntry.objects.values()))


def test_tokens_are_issued_and_revoked_on_record(ada: User, api: APIClient, page: Client) -> None:
    ada.set_password(PASSWORD)
    ada.save()
    page.force_login(ada)
    api.force_login(ada)
    made = []
    for name in ("ci", "cron", "old"):
        body = {"username": "ada", "password": PASSWORD, "name": name}
        made.append(APIClient().post("/api/v1/auth/token/", body, format="json").json())
        assert (last().action, last().actor, last().target_name) == ("token.issue", "user:ada", f"ada/{name}")
    assert made[0]["token"] not in str(list(AuditEntry.objects.values()))
    itself = APIClient(HTTP_AUTHORIZATION=f"Token {made[0]['token']}")
    itself.delete("/api/v1/auth/token/")
    assert (last().action, last().actor) == ("token.revoke", "token:ada/ci")
    api.delete(f"/api/v1/auth/tokens/{made[1]['id']}/")
    assert (last().action, last().actor, last().target_name) == ("token.revoke", "user:ada", "ada/cron")
    old = AccessToken.objects.get(name="old")
    page.post(f"/admin/stratavore_site/accesstoken/{old.pk}/delete/", {"post": "yes"})
    assert (last().action, last().source, last().target_name) == ("token.delete", "admin", "ada/old")


def test_users_and_groups_are_changed_in_the_admin_on_record(page: Client) -> None:
    page.post("/admin/auth/group/add/", {"name": "auditors"})
    group = Group.objects.get()
    assert (last().action, last().target_name, last().after) == (
        "group.create",
        "auditors",
        {"name": "auditors"},
    )
    eve = make_user("eve")
    form: dict[str, Any] = {
        "username": "eve",
        "is_staff": "on",
        "groups": [group.pk],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "10:00:00",
    }
    assert page.post(f"/admin/auth/user/{eve.pk}/change/", form).status_code == 302
    assert (last().action, last().target_name) == ("user.change", "eve")
    assert last().after["groups"] == ["auditors"]  # type: ignore[index]
    assert last().after["is_staff"] is True  # type: ignore[index]
    page.post(
        f"/admin/auth/user/{eve.pk}/password/",
        {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"},
    )
    assert last().action == "user.change"
    assert PASSWORD not in str(list(AuditEntry.objects.values()))
    page.post("/admin/auth/user/", {"action": "delete_selected", "_selected_action": [eve.pk], "post": "yes"})
    assert (last().action, last().target_name) == ("user.delete", "eve")


def older_attempt() -> Runner:
    return make_runner(generation=2)


def test_telemetry_of_an_older_attempt_is_refused_on_record() -> None:
    runner = older_attempt()
    ingest(Batch(runner.pk, generation=1, start_offset=0, end_offset=10, records=[]))
    assert (acts(), last().actor, last().target_id) == (["runner.refuse_stale"], "system:node", str(runner.pk))
    assert (last().before, last().after) == ({"generation": 1}, {"generation": 2})


@pytest.mark.parametrize(
    ("task", "arguments"), [(tasks.stop_runner, (10,)), (tasks.pause_runner, ()), (tasks.resume_runner, ())]
)
def test_a_command_to_an_older_attempt_is_refused_on_record(task: Any, arguments: tuple[int, ...]) -> None:
    runner = older_attempt()
    task(str(runner.pk), 1, *arguments)
    assert acts() == ["runner.refuse_stale"]
    assert not run_directory(runner.pk, 1).exists()


def test_a_start_of_an_older_attempt_is_refused_on_record() -> None:
    assert not start_on_node(older_attempt().pk, 1)
    assert acts() == ["runner.refuse_stale"]
