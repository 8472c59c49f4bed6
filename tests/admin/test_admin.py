"""The admin: every page answers, services are the only writers, refusals are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.models import Agent, Personality
from agents.services import create_agent
from outbox.models import Entry
from runners.models import Message, Node, Project, Runner, RunnerMove, Session, UsageEntry
from runners.states import CostSource, NodeStatus, ProjectStatus, Role, RunnerStatus
from tests.callers import make_user
from tests.runners.factories import make_node, make_project, make_runner

pytestmark = pytest.mark.django_db
RUNNERS = "/admin/runners/runner/"
#: Records of which staff may only look.
READ_ONLY = ["runners.runner", "runners.runnermove", "runners.message", "runners.usageentry", "runners.session"]


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(make_user("staff", is_staff=True, is_superuser=True))
    return client


def fill() -> Runner:
    runner = make_runner(environment={"API_KEY": "s3cret-value"})
    Message.objects.create(
        session=Session.objects.get(runners=runner),
        runner=runner,
        key="a",
        role=Role.USER,
        text="hi",
        at=timezone.now(),
    )
    UsageEntry.objects.create(
        session=Session.objects.get(runners=runner), runner=runner, key="a", source=CostSource.UNKNOWN
    )
    RunnerMove.objects.create(runner=runner, generation=1, to_status="starting", actor="user:ada")
    create_agent(personality="cadet", project=runner.project.name, actor="user:ada")
    return runner


def told(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


def act(client: Client, address: str, action: str, *ids: Any) -> list[str]:
    """Run an action of a list on these records and return what it told."""
    client.cookies.pop("messages", None)
    return told(client.post(address, {"action": action, "_selected_action": [str(pk) for pk in ids], "index": 0}))


def test_every_page_of_every_record_answers(staff: Client) -> None:
    fill()
    for model in admin.site._registry:
        base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        listed = staff.get(reverse(f"{base}_changelist"))
        assert listed.status_code == 200, model
        assert staff.get(reverse(f"{base}_changelist"), {"q": "a"}).status_code == 200, model
        record = model._default_manager.first()
        if record is not None:
            assert staff.get(reverse(f"{base}_change", args=[record.pk])).status_code == 200, model
        adding = staff.get(reverse(f"{base}_add"))
        assert adding.status_code in (200, 403), model
    assert staff.get("/admin/").status_code == 200


@pytest.mark.parametrize("label", READ_ONLY)
def test_what_only_services_write_cannot_be_written_here(staff: Client, label: str) -> None:
    fill()
    model = next(model for model in admin.site._registry if model._meta.label_lower == label)
    base, record = f"admin:{label.replace('.', '_')}", model._default_manager.first()
    assert record is not None
    assert staff.get(reverse(f"{base}_add")).status_code == 403
    assert staff.post(reverse(f"{base}_change", args=[record.pk]), {}).status_code == 403
    assert staff.post(reverse(f"{base}_delete", args=[record.pk]), {"post": "yes"}).status_code == 403


def test_the_values_of_the_environment_are_not_shown(staff: Client) -> None:
    runner = fill()
    page = staff.get(f"{RUNNERS}{runner.pk}/change/").content
    assert b"API_KEY" in page
    assert b"s3cret-value" not in page


def test_the_selected_runners_are_stopped_and_refusals_told_one_by_one(staff: Client) -> None:
    running, starting = make_runner(name="one"), make_runner(name="two", status=RunnerStatus.STARTING)
    assert act(staff, RUNNERS, "pause_selected", running.pk, starting.pk) == [
        "1 runner asked to pause.",
        "two is starting, not running.",
    ]
    assert act(staff, RUNNERS, "stop_selected", running.pk, starting.pk) == ["2 runners asked to stop."]
    assert set(Runner.objects.values_list("status", flat=True)) == {RunnerStatus.STOPPING}
    assert set(RunnerMove.objects.values_list("actor", flat=True)) == {"user:staff"}


def test_stop_now_leaves_no_grace(staff: Client) -> None:
    runner = make_runner()
    act(staff, RUNNERS, "stop_selected_now", runner.pk)
    assert Entry.objects.get(type="runners.tasks.stop_runner").data["args"][-1] == 0


def test_the_shown_runner_is_stopped_by_a_form_and_never_by_a_link(staff: Client) -> None:
    runner = make_runner()
    address = reverse("admin:runners_runner_stop_this", args=[runner.pk])
    asked = staff.get(address)
    assert asked.status_code == 200
    assert b"grace_seconds" in asked.content
    assert Runner.objects.get().status == RunnerStatus.RUNNING
    done = staff.post(address, {"_form_submitted": "on", "grace_seconds": "3"})
    assert done["HX-Redirect"] == f"{RUNNERS}{runner.pk}/change/"
    assert Runner.objects.get().status == RunnerStatus.STOPPING
    assert Entry.objects.get(type="runners.tasks.stop_runner").data["args"][-1] == 3


def test_who_may_only_look_cannot_steer() -> None:
    runner = make_runner()
    client = Client()
    client.force_login(make_user("looker", "runners.view_runner", is_staff=True))
    page = client.get(RUNNERS)
    assert page.status_code == 200
    assert b"stop_selected" not in page.content
    act(client, RUNNERS, "stop_selected", runner.pk)
    address = reverse("admin:runners_runner_stop_this", args=[runner.pk])
    assert client.post(address, {"_form_submitted": "on"}).status_code == 403
    assert Runner.objects.get().status == RunnerStatus.RUNNING


def test_the_list_of_runners_takes_the_same_queries_for_many(staff: Client, django_assert_max_num_queries: Any) -> None:
    project, node = make_project(), make_node()
    for _ in range(30):
        make_runner(project=project, node=node)
    with django_assert_max_num_queries(14):
        page = staff.get(RUNNERS)
    assert page.content.count(b'data-figure="status"') == 30
    assert page.content.count(b"data-status-label=") == len(RunnerStatus)
    assert b'src="/static/js/admin_live.js" type="module"' in page.content


def test_a_project_is_made_and_changed_through_its_services(staff: Client, workspace: Callable[[str], Path]) -> None:
    add = reverse("admin:runners_project_add")
    outside = staff.post(add, {"name": "shop", "path": "/etc"})
    assert b"outside the allowed workspace roots" in outside.content
    path = workspace("shop")
    assert staff.post(add, {"name": "shop", "path": str(path), "tags": "web\nnight shift"}).status_code == 302
    project = Project.objects.get()
    assert (project.tags, project.path) == (["web", "night shift"], str(path.resolve()))
    change = reverse("admin:runners_project_change", args=[project.pk])
    assert staff.post(change, {"description": "A shop.", "max_concurrent_runners": "2"}).status_code == 302
    project = Project.objects.select_related("quota").get()
    assert (project.description, project.quota.max_concurrent_runners, project.name) == ("A shop.", 2, "shop")


def test_a_project_with_open_runners_is_not_archived(staff: Client) -> None:
    busy, free = make_runner().project, make_project()
    messages = act(staff, reverse("admin:runners_project_changelist"), "archive_selected", busy.pk, free.pk)
    assert len(messages) == 2
    assert any("still has 1 open runners" in message for message in messages)
    assert Project.objects.get(pk=free.pk).status == ProjectStatus.ARCHIVED


def test_nodes_are_drained_and_undrained(staff: Client) -> None:
    node = make_node()
    address = reverse("admin:runners_node_changelist")
    act(staff, address, "drain_selected", node.pk)
    assert Node.objects.get().status == NodeStatus.DRAINING
    act(staff, address, "undrain_selected", node.pk)
    assert Node.objects.get().status == NodeStatus.ONLINE


def test_a_personality_is_edited_as_a_version_and_checked(staff: Client) -> None:
    cadet = Personality.objects.get(name="cadet")
    address = reverse("admin:agents_personality_change", args=[cadet.pk])
    wanted = {"description": "New.", "default_backend": "claude_code", "strengths": "one\ntwo", "flags": "--nonsense"}
    assert b"does not know the flag --nonsense" in staff.post(address, wanted).content
    wanted |= {"flags": "", "max_restarts": "0", "grace_seconds": "10", "approvals": "ask"}
    wanted |= {"versions-TOTAL_FORMS": "0", "versions-INITIAL_FORMS": "0"}
    assert b"to fill in" in staff.post(address, {**wanted, "role_prompt": "{{ job.titel }}"}).content
    assert b"cannot ask for approval" in staff.post(address, {**wanted, "default_backend": "codex"}).content
    assert staff.post(address, wanted).status_code == 302
    cadet.refresh_from_db()
    assert (cadet.version, cadet.strengths, cadet.description) == (2, ["one", "two"], "New.")
    assert cadet.approvals == "ask"


def test_an_agent_is_made_by_the_service_and_retired(staff: Client) -> None:
    cadet = Personality.objects.get(name="cadet")
    answer = staff.post(reverse("admin:agents_agent_add"), {"personality": cadet.pk, "name": "", "project": ""})
    assert answer.status_code == 302, answer.content
    agent = Agent.objects.get()
    assert (agent.status, agent.name[:6]) == ("idle", "cadet-")
    address = reverse("admin:agents_agent_changelist")
    assert act(staff, address, "retire_selected", agent.pk) == ["1 retired."]
    assert act(staff, address, "retire_selected", agent.pk) == [f"{agent.name} is retired: it cannot become retired."]
    assert (
        list(Entry.objects.filter(type__startswith="agent.").order_by("id").values_list("data__actor", flat=True))
        == ["user:staff"] * 3
    )


def test_the_sidebar_shows_only_what_its_user_may_see(staff: Client) -> None:
    page = staff.get("/admin/").content
    for address in ("/admin/runners/runner/", "/admin/outbox/entry/", "/admin/auth/user/", "/api/docs/"):
        assert f'href="{address}"'.encode() in page
    client = Client()
    client.force_login(make_user("looker", "runners.view_runner", is_staff=True))
    page = client.get("/admin/").content
    assert b'href="/admin/runners/runner/"' in page
    assert b'href="/admin/auth/user/"' not in page


def test_times_are_told_to_the_second(staff: Client) -> None:
    at = timezone.now().replace(year=2026, month=3, day=4, hour=5, minute=6, second=7)
    make_runner(created_at=at)
    assert b"2026-03-04 05:06:07" in staff.get(RUNNERS).content
