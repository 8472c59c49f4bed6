"""Acting on all that match, in pages without JavaScript and live in a browser."""

import json
import re
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, expect

from runners.backends.base import LaunchRequest
from runners.models import Operation, Runner
from runners.services import launch_runner
from runners.services.operations import run_operation
from runners.states import RunnerStatus
from tests.dashboard.conftest import signed_in
from tests.runners.factories import make_project, make_runner
from tests.stack import Stack

STOP = {"verb": "runner.stop", "filter": json.dumps({"project": "shop"})}


def make_fleet() -> None:
    project = make_project(name="shop")
    make_runner(name="busy", project=project)
    make_runner(name="<i>old</i>", project=project, status=RunnerStatus.PAUSED)


@pytest.mark.django_db
def test_the_list_offers_to_act_on_all_that_match_its_filter(client: Client) -> None:
    make_fleet()
    make_runner(name="elsewhere")
    page = client.get("/runners/?project=shop&status=active").content.decode()
    assert "With all 2 that match" in page
    wanted = re.search(r'name="filter" value="([^"]*)"', page)
    assert wanted is not None
    assert json.loads(wanted[1].replace("&quot;", '"')) == {"project": "shop", "open": True}


@pytest.mark.django_db
def test_who_may_not_change_runners_is_offered_nothing(reader: User) -> None:
    make_fleet()
    client = signed_in(reader)
    assert "that match" not in client.get("/runners/").content.decode()
    assert client.get(f"/operations/new/?{urlencode(STOP)}").status_code == 403
    assert client.post("/operations/new/", {**STOP, "count": "2"}).status_code == 403
    assert not Operation.objects.exists()


@pytest.mark.django_db
def test_the_count_and_the_exceptions_are_shown_before_anything_is_done(client: Client) -> None:
    make_fleet()
    pause = {**STOP, "verb": "runner.pause"}
    page = client.get(f"/operations/new/?{urlencode(pause)}").content.decode()
    assert "Pause 1 runners?" in page
    assert "2 match: project shop. 1 of them will be skipped." in page
    assert "&lt;i&gt;old&lt;/i&gt;" in page
    assert "It is paused." in page
    assert not Operation.objects.exists()


@pytest.mark.django_db
def test_confirmed_it_begins_and_its_page_tells_what_came_of_each(client: Client) -> None:
    make_fleet()
    answer = client.post("/operations/new/", {**STOP, "count": "2"})
    operation = Operation.objects.get()
    assert answer["Location"] == f"/operations/{operation.pk}/"
    assert "Cancel the rest" in client.get(answer["Location"]).content.decode()
    run_operation(operation.pk)
    page = client.get(answer["Location"]).content.decode()
    assert "2 of 2" in page
    assert "Cancel the rest" not in page
    assert "None" in client.get(f"{answer['Location']}?result=failed").content.decode()
    assert "Stop 2 runners" in client.get("/operations/").content.decode()


@pytest.mark.django_db
def test_more_than_was_shown_is_shown_again_instead(client: Client) -> None:
    make_fleet()
    answer = client.post("/operations/new/", {**STOP, "count": "1"})
    page = answer.content.decode()
    assert "2 runners match by now, not 1: look again." in page
    assert "Stop 2 runners?" in page
    assert not Operation.objects.exists()


@pytest.mark.django_db
def test_an_operation_is_cancelled_from_its_page(client: Client) -> None:
    make_fleet()
    client.post("/operations/new/", {**STOP, "count": "2"})
    operation = Operation.objects.get()
    client.post(f"/operations/{operation.pk}/cancel/")
    page = client.get(f"/operations/{operation.pk}/").content.decode()
    assert "Cancelled: what was not done yet is left alone." in page
    assert "cancelled by user:ada" in page


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["verb=runner.fly", "verb=runner.stop&filter=x", "verb=runner.stop&filter=[]", ""])
def test_an_address_that_makes_no_sense_leads_to_the_list_with_a_sentence(client: Client, query: str) -> None:
    answer = client.get(f"/operations/new/?{query}", follow=True)
    assert answer.status_code == 200
    assert 'class="flash error"' in answer.content.decode()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_the_whole_fleet_is_stopped_from_the_list_and_the_page_follows(
    stack: Stack, operator: User, open_page: Callable[..., Page]
) -> None:
    project = make_project(name="shop", quota=6)
    request = LaunchRequest(backend="command", argv=["sleep", "300"])
    runners = [launch_runner(project.name, request, actor="user:ada") for _ in range(6)]
    for runner in runners:
        stack.wait_for(runner, "running")
    stack.start("web")
    page = open_page(stack, operator)
    page.goto("/runners/?status=active")
    page.get_by_role("button", name="Kill").click()
    expect(page.get_by_role("heading", name="Kill 6 runners?")).to_be_visible()
    page.get_by_role("button", name="Kill 6 runners").click()
    expect(page.locator(".tag")).to_have_text("done")
    expect(page.locator('.result[data-result="done"]')).to_have_count(6)
    for runner in runners:
        assert stack.wait_for(runner, "terminated").status == "terminated"
    assert set(Runner.objects.values_list("reason", flat=True)) == {"stopped by user:ada"}
