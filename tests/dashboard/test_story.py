"""The whole story in a browser, every process real: sign in, launch, watch it run, see it end, without a reload."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from runners.models import Runner
from tests.runners.factories import make_project
from tests.stack import Stack

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
SCRIPT = "bash -c 'echo hello from the agent; read -r word; echo got $word; sleep 1'"


def sign_in(page: Page, user: User) -> None:
    page.goto("/")
    page.fill("[name=username]", user.username)
    page.fill("[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def launch(page: Page, project: str, command: str) -> None:
    page.get_by_role("link", name="Launch a runner").first.click()
    page.get_by_text("Command", exact=True).first.click()
    page.select_option("[name=project]", project)
    page.fill("[name=command]", command)
    page.get_by_role("button", name="Launch").click()


def mark(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("window.neverReloaded = true")


def expect_no_reload(page: Page) -> None:
    assert page.evaluate("window.neverReloaded === true")


def test_a_runner_is_launched_watched_and_seen_to_end_without_a_reload(
    stack: Stack, operator: User, open_page: Callable[..., Page]
) -> None:
    stack.start("web")
    project = make_project()
    operator.set_password(PASSWORD)
    operator.save()
    watcher = open_page(stack, operator)
    watcher.goto("/")
    expect(watcher.locator("live-state")).to_have_attribute("data-state", "live")
    mark(watcher)

    page = open_page(stack, None)
    sign_in(page, operator)
    launch(page, project.name, SCRIPT)
    status = page.locator("h1 .status")
    expect(status).to_be_visible()
    mark(page)
    expect(status).to_have_attribute("data-status", "running")
    expect(page.locator(".xterm-rows")).to_contain_text("hello from the agent")
    runner = Runner.objects.get()

    row = watcher.locator(f'live-table tbody tr[data-id="{runner.pk}"]')
    expect(row).to_have_attribute("data-status", "running")
    expect(watcher.locator(".tile[data-status=running] .figure")).to_have_text("1")

    page.locator(".xterm-screen").click()
    page.keyboard.type("tomato\n")
    expect(page.locator(".xterm-rows")).to_contain_text("got tomato")

    expect(status).to_have_attribute("data-status", "terminated")
    expect(page.locator(".timeline")).to_contain_text("Terminated")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(watcher.locator(".tile[data-status=terminated] .figure")).to_have_text("1")
    expect(watcher.locator(".feed")).to_contain_text("ended with exit code 0")
    expect(row).to_have_count(0)
    expect_no_reload(page)
    expect_no_reload(watcher)


def test_a_runner_is_paused_resumed_and_stopped_by_its_buttons(
    stack: Stack, operator: User, open_page: Callable[..., Page]
) -> None:
    stack.start("web")
    project = make_project()
    page = open_page(stack, operator)
    page.goto("/")
    launch(page, project.name, "sleep 300")
    status = page.locator("h1 .status")
    expect(status).to_have_attribute("data-status", "running")
    mark(page)
    expect(page.locator('.strip [data-field="memory"]')).to_contain_text("MB")
    for button, reached in (("Pause", "paused"), ("Resume", "running"), ("Stop", "terminated")):
        page.get_by_role("button", name=button, exact=True).click()
        expect(status).to_have_attribute("data-status", reached)
    expect(page.locator('.strip [data-field="cost"]')).to_have_text("unknown")
    expect_no_reload(page)
