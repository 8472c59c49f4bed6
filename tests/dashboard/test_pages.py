"""The pages, as a browser without JavaScript sees them."""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from outbox.services.number import number_committed
from runners.models import Message, Project, Runner, Session
from runners.states import RunnerStatus
from runners.transitions import move
from tests.dashboard.conftest import signed_in
from tests.runners.factories import make_node, make_project, make_runner

pytestmark = pytest.mark.django_db

PAGES = [
    "/",
    "/runners/",
    "/launch/",
    "/search/",
    "/sessions/",
    "/projects/",
    "/new-project/",
    "/nodes/",
    "/events/",
    "/webhooks/",
    "/new-webhook/",
]


@pytest.mark.parametrize("address", PAGES)
def test_a_page_asks_for_a_sign_in_and_comes_back(address: str) -> None:
    response = Client().get(address)
    assert response.status_code == 302
    assert response["Location"] == f"/login/?next={address}"


@pytest.mark.parametrize("address", PAGES)
def test_an_empty_page_says_what_to_do(client: Client, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 200
    assert response["Content-Security-Policy"].startswith("default-src 'self'")


def test_each_key_leads_to_one_page_and_is_in_the_list_of_keys(client: Client) -> None:
    page = client.get("/").content.decode()
    keys = re.findall(r'data-key="g(\w)"', page)
    assert len(keys) > 10
    assert sorted(set(keys)) == sorted(keys)
    assert sorted(re.findall(r"<kbd>g</kbd> <kbd>(\w)</kbd>", page)) == sorted(keys)


def test_signing_in_leads_to_the_overview(operator: User) -> None:
    operator.set_password("correct horse battery")
    operator.save()
    client = Client()
    response = client.post("/login/", {"username": "ada", "password": "correct horse battery"})
    assert response["Location"] == "/"
    assert client.post("/logout/")["Location"] == "/login/"


def test_a_wrong_password_is_said(operator: User) -> None:
    response = Client().post("/login/", {"username": "ada", "password": "wrong"})
    assert "correct username and password" in response.content.decode()


def test_the_overview_counts_and_lists_what_is_active(client: Client) -> None:
    running = make_runner()
    ended = make_runner(status=RunnerStatus.TERMINATED, ended_at=timezone.now())
    page = client.get("/").content.decode()
    assert running.name in page
    assert ended.name not in page


@pytest.mark.parametrize(
    ("query", "listed"),
    [
        ("", {"one", "two", "three"}),
        ("status=active", {"one", "two"}),
        ("status=terminated", {"three"}),
        ("status=nonsense", {"one", "two", "three"}),
        ("project=orchard", {"two"}),
        ("backend=demo", {"one"}),
        ("q=TAX", {"two"}),
        ("q=nothing-has-this", set()),
        ("node=atlas", {"one"}),
    ],
)
def test_runners_are_narrowed_by_the_address(client: Client, query: str, listed: set[str]) -> None:
    make_runner(name="one", backend="demo", node=make_node(name="atlas"))
    make_runner(name="two", project=make_project(name="orchard"), prompt="Round the tax once", status="paused")
    make_runner(name="three", status=RunnerStatus.TERMINATED, ended_at=timezone.now())
    response = client.get(f"/runners/?{query}")
    assert {row["name"] for row in response.context["rows"]} == listed


def test_a_runner_is_found_by_its_id(client: Client) -> None:
    runner = make_runner()
    make_runner()
    response = client.get(f"/runners/?q={runner.pk}")
    assert [row["id"] for row in response.context["rows"]] == [str(runner.pk)]


def test_a_cost_that_is_not_known_is_unknown_and_never_zero(client: Client) -> None:
    runner = make_runner()
    page = client.get(f"/runners/{runner.pk}/").content.decode()
    assert "unknown" in page
    assert "$0" not in page


def test_known_tokens_and_cost_are_shown(client: Client) -> None:
    runner = make_runner()
    Session.objects.filter(runners=runner).update(
        input_tokens=12_345, cost_usd=Decimal("0.0213"), cost_source="reported"
    )
    row = client.get(f"/runners/{runner.pk}/").context["row"]
    assert (row["tokens"], row["cost"]) == ("12.3k", "$0.0213")


def test_a_sum_of_which_a_part_is_unknown_says_so(client: Client) -> None:
    runner = make_runner()
    Session.objects.filter(runners=runner).update(cost_usd=Decimal("1.5"), cost_source="unknown")
    assert client.get(f"/runners/{runner.pk}/").context["row"]["cost"] == "≥ $1.50"


def test_a_runner_that_ended_has_no_memory_and_no_buttons_to_stop_it(client: Client) -> None:
    runner = make_runner(status=RunnerStatus.FAILED, ended_at=timezone.now(), exit_code=3)
    response = client.get(f"/runners/{runner.pk}/")
    assert response.context["row"]["memory"] == "–"  # noqa: RUF001
    assert response.context["row"]["ending"] == "exit code 3"
    assert f"/runners/{runner.pk}/stop/" not in response.content.decode()


def test_a_command_is_launched_as_typed(client: Client) -> None:
    project = make_project()
    make_node(name="here")
    response = client.post(
        "/launch/",
        {"project": project.name, "backend": "command", "command": "echo 'two words' three", "grace_seconds": "3"},
    )
    runner = Runner.objects.get()
    assert response["Location"] == f"/runners/{runner.pk}/"
    assert (runner.argv, runner.grace_seconds) == (["echo", "two words", "three"], 3)
    assert runner.moves.get().actor == "user:ada"
    assert runner.requested_by is not None


@pytest.mark.parametrize(
    ("typed", "field", "sentence"),
    [
        ({"command": "echo 'open"}, "command", "cannot be split into words"),
        ({"command": "there-is-no-such-program"}, "command", "no program"),
        ({"command": "true", "workspace": "/etc"}, "workspace", ""),
        ({"backend": "demo", "flags": "--nonsense"}, "flags", "--nonsense"),
        ({"project": "nowhere", "command": "true"}, "project", ""),
    ],
)
def test_a_refusal_stands_at_its_field_and_keeps_what_was_typed(
    client: Client, typed: dict[str, str], field: str, sentence: str
) -> None:
    project = make_project()
    make_node()
    response = client.post("/launch/", {"project": project.name, "backend": "command", "name": "kept", **typed})
    form = response.context["form"]
    assert response.status_code == 422
    assert list(form.errors) == [field]
    assert sentence in str(form.errors[field])
    assert 'value="kept"' in response.content.decode()
    assert not Runner.objects.exists()


def test_a_full_quota_is_said_above_the_form(client: Client) -> None:
    project = make_project(quota=0)
    make_node()
    response = client.post("/launch/", {"project": project.name, "backend": "command", "command": "true"})
    assert "its quota is full" in str(response.context["form"].non_field_errors())


def test_a_runner_is_launched_again_with_what_it_had(client: Client) -> None:
    runner = make_runner(argv=["echo", "two words"])
    form = client.get(f"/launch/?again={runner.pk}").context["form"]
    assert form["command"].value() == "echo 'two words'"
    assert form["project"].value() == runner.project.name
    assert form["workspace"].value() == ""


def test_stop_is_asked_for_and_said(client: Client) -> None:
    runner = make_runner()
    response = client.post(f"/runners/{runner.pk}/stop/", follow=True)
    runner.refresh_from_db()
    assert runner.status == RunnerStatus.STOPPING
    assert f"{runner.name} was asked to stop." in response.content.decode()


def test_a_pause_that_makes_no_sense_is_refused_with_a_sentence(client: Client) -> None:
    runner = make_runner(status=RunnerStatus.STARTING)
    response = client.post(f"/runners/{runner.pk}/pause/", follow=True)
    assert f"{runner.name} is starting, not running." in response.content.decode()


def test_there_are_no_other_verbs(client: Client) -> None:
    assert client.post(f"/runners/{make_runner().pk}/explode/").status_code == 404


def test_a_reader_sees_everything_and_may_do_nothing(reader: User) -> None:
    runner, client = make_runner(), signed_in(reader)
    page = client.get(f"/runners/{runner.pk}/").content.decode()
    assert "Stop" not in page
    assert "Launch" not in client.get("/").content.decode()
    for address in (f"/runners/{runner.pk}/stop/", "/launch/", "/new-project/", f"/projects/{runner.project}/archive/"):
        assert client.post(address).status_code == 403, address
    runner.refresh_from_db()
    assert runner.status == RunnerStatus.RUNNING


def test_a_state_is_not_changed_by_following_a_link(client: Client) -> None:
    assert client.get(f"/runners/{make_runner().pk}/stop/").status_code == 405


def test_a_conversation_is_escaped_and_its_tools_are_folded(client: Client) -> None:
    runner = make_runner()
    now = timezone.now()
    say = {"session": runner.session, "runner": runner, "at": now}
    Message.objects.create(**say, key="1", role="user", text="<script>alert(1)</script>")
    Message.objects.create(**say, key="2", role="assistant", tool_name="Bash", tool_input={"command": "ls -la"})
    last = Message.objects.create(**say, key="3", role="tool", text="No such file", is_error=True)
    page = client.get(f"/sessions/{runner.session_id}/").content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "ls -la" in page
    piece = client.get(f"/sessions/{runner.session_id}/messages/?after={last.pk - 1}").content.decode()
    assert piece.count("data-message") == 1
    assert "No such file" in piece


def test_a_long_conversation_is_read_page_by_page(client: Client) -> None:
    runner = make_runner()
    Message.objects.bulk_create(
        Message(session=runner.session, key=str(n), role="assistant", text=f"word {n}.", at=timezone.now())
        for n in range(250)
    )
    response = client.get(f"/sessions/{runner.session_id}/")
    assert "word 249." in response.content.decode()
    assert "word 49." not in response.content.decode()
    earlier = client.get(
        f"/sessions/{runner.session_id}/?before={response.context['window'].first_id}"
    ).content.decode()
    assert "word 49." in earlier
    assert "word 0." in earlier


def test_a_project_is_created_over_a_directory(client: Client, workspace: Callable[[str], Path]) -> None:
    path = workspace("orchard")
    typed = {"name": "orchard", "path": str(path), "description": "", "tags": "web, shop"}
    assert client.post("/new-project/", typed)["Location"] == "/projects/orchard/"
    assert Project.objects.get().tags == ["web", "shop"]
    assert "orchard" in client.get("/projects/").content.decode()


def test_a_directory_outside_the_roots_is_refused_at_its_field(client: Client) -> None:
    response = client.post("/new-project/", {"name": "etc", "path": "/etc"})
    assert response.status_code == 422
    assert "path" in response.context["form"].errors


def test_a_project_with_open_runners_is_not_archived(client: Client) -> None:
    runner = make_runner()
    page = client.post(f"/projects/{runner.project}/archive/", follow=True).content.decode()
    assert "stop them first" in page


@pytest.mark.django_db(transaction=True)
def test_events_are_listed_and_narrowed(client: Client) -> None:
    runner = make_runner()
    move(runner.pk, RunnerStatus.PAUSED, generation=1, actor="user:ada")
    move(runner.pk, RunnerStatus.RUNNING, generation=1, actor="user:ada")
    number_committed()
    assert [row["text"] for row in client.get("/events/").context["events"]] == ["runs again", "is paused"]
    only = client.get("/events/?type=runner.paused").context["events"]
    assert [row["type"] for row in only] == ["runner.paused"]
    assert client.get(f"/events/?before={only[0]['sequence']}").context["events"] == []


def test_the_output_page_says_when_the_node_does_not_answer(client: Client) -> None:
    runner = make_runner()
    page = client.get(f"/runners/{runner.pk}/output/")
    assert "does not answer" in page.content.decode()
    assert page["X-Frame-Options"] == "SAMEORIGIN"


def test_what_is_not_there_is_told_in_the_look_of_the_pages(client: Client) -> None:
    response = client.get("/runners/00000000-0000-0000-0000-000000000000/")
    assert response.status_code == 404
    assert "Nothing here" in response.content.decode()


@pytest.mark.parametrize("address", ["/", "/runners/", "/nodes/", "/projects/"])
def test_a_page_asks_as_many_queries_for_many_rows_as_for_few(
    client: Client, address: str, django_assert_max_num_queries: Callable[..., object]
) -> None:
    for _ in range(8):
        make_runner()
    with django_assert_max_num_queries(20):  # type: ignore[attr-defined]
        client.get(address)


@pytest.mark.django_db
def test_a_launch_waits_in_line_when_asked_and_an_ended_runner_starts_again(client: Client) -> None:
    make_node()
    project = make_project(quota=0)
    client.force_login(User.objects.create_user("grace", is_superuser=True))
    typed = {"project": project.name, "backend": "command", "command": "true", "wait": "on", "restart_policy": "always"}
    client.post("/launch/", typed)
    runner = Runner.objects.get()
    assert (runner.status, runner.restart_policy) == ("queued", "always")
    page = client.get(f"/runners/{runner.pk}/").content.decode()
    assert "1. of its project" in page
    client.post(f"/runners/{runner.pk}/stop/")
    assert "Start again" in client.get(f"/runners/{runner.pk}/").content.decode()
    project.quota.max_concurrent_runners = 1
    project.quota.save()
    client.post(f"/runners/{runner.pk}/restart/")
    runner.refresh_from_db()
    assert (runner.status, runner.generation) == ("starting", 2)
