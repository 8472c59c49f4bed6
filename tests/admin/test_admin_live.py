"""The admin's rows in a browser: they follow the runners without a reload, with and without the websocket."""

import re
from collections.abc import Callable

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from runners.backends.base import LaunchRequest
from runners.models import Runner
from runners.services import launch_runner, stop_runner
from runners.states import RunnerStatus
from tests.callers import make_user
from tests.runners.factories import make_project, make_runner
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RUNNERS = "/admin/runners/runner/"


def status_of(page: Page, runner: Runner) -> Locator:
    return page.locator(f'[data-runner="{runner.pk}"][data-figure="status"]')


def test_a_row_follows_its_runner_over_the_websocket(stack: Stack, open_page: Callable[..., Page]) -> None:
    stack.start("web")
    request = LaunchRequest(backend="command", argv=["sleep", "300"])
    runner = launch_runner(make_project().name, request, actor="user:ada")
    page = open_page(stack, make_user("staff", is_staff=True, is_superuser=True))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/v1/runners/" in request.url else None)
    page.goto(RUNNERS)
    expect(status_of(page, runner)).to_have_text("Running", timeout=30_000)
    expect(page.locator('[data-figure="memory"]')).to_contain_text("MB", timeout=10_000)
    stop_runner(runner.pk, actor="user:ada", grace_seconds=0)
    expect(status_of(page, runner)).to_have_text("Terminated", timeout=30_000)
    expect(page.locator('[data-figure="memory"]')).to_have_text("–")  # noqa: RUF001 - an en dash is meant
    # One question after the first snapshot; the socket told the rest.
    assert len(asked) <= 2


def test_a_row_follows_its_runner_while_the_websocket_is_away(web: Stack, open_page: Callable[..., Page]) -> None:
    runner = make_runner()
    page = open_page(web, make_user("staff", is_staff=True, is_superuser=True))
    page.route_web_socket("**/ws/live/", lambda socket: socket.close())
    page.goto(RUNNERS)
    expect(status_of(page, runner)).to_have_text("Running")
    Runner.objects.filter(pk=runner.pk).update(status=RunnerStatus.FAILED, ended_at=timezone.now())
    expect(status_of(page, runner)).to_have_text("Failed", timeout=20_000)
    expect(status_of(page, runner).locator("span")).to_have_class(re.compile("bg-red-100"))
