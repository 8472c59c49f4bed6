"""The pages in a real browser, over a real web process; runners' states are changed by the services themselves."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, WebSocketRoute, expect

from dashboard.push import observed
from runners.models import Message, Runner
from runners.states import RunnerStatus
from runners.transitions import move
from tests.runners.factories import make_node, make_project, make_runner
from tests.stack import Stack

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Page]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


def to(runner: Runner, status: RunnerStatus) -> None:
    move(runner.pk, status, generation=1, actor="user:ada")


def expect_live(page: Page) -> None:
    expect(page.locator("live-state")).to_have_attribute("data-state", "live")


def test_rows_counts_and_feed_follow_changes_without_a_reload(web: Stack, operator: User, open_page: OpenPage) -> None:
    runner = make_runner()
    page = open_page(web, operator)
    page.goto("/")
    expect_live(page)
    row = page.locator(f'tbody tr[data-id="{runner.pk}"]')
    expect(row).to_have_attribute("data-status", "running")
    to(runner, RunnerStatus.PAUSED)
    expect(row.locator(".status")).to_have_text("Paused")
    expect(page.locator(".tile[data-status=paused] .figure")).to_have_text("1")
    expect(page.locator(".feed li").first).to_contain_text("is paused")
    second = make_runner()
    to(second, RunnerStatus.PAUSED)
    expect(page.locator("tbody tr").first).to_contain_text(second.name)


def test_a_filtered_list_takes_in_only_what_matches(web: Stack, operator: User, open_page: OpenPage) -> None:
    mine, other = make_runner(), make_runner()
    page = open_page(web, operator)
    page.goto(f"/runners/?project={mine.project.name}&status=paused")
    expect_live(page)
    expect(page.get_by_role("heading", name="No runner matches")).to_be_visible()
    to(other, RunnerStatus.PAUSED)
    to(mine, RunnerStatus.PAUSED)
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text(mine.name)


def test_a_lost_connection_is_shown_and_caught_up_with(web: Stack, operator: User, open_page: OpenPage) -> None:
    runner = make_runner()
    page = open_page(web, operator)
    open_sockets: list[WebSocketRoute] = []
    broken = False

    def through(route: WebSocketRoute) -> None:
        if broken:
            route.close()
        else:
            route.connect_to_server()
            open_sockets.append(route)

    page.route_web_socket(re.compile(r"/ws/live/"), through)
    page.goto("/")
    expect_live(page)
    broken = True
    open_sockets.pop().close()
    state = page.locator("live-state")
    expect(state).to_have_attribute("data-state", "stale")
    expect(state).to_contain_text("stale since")
    to(runner, RunnerStatus.PAUSED)
    broken = False
    expect_live(page)
    expect(page.locator(f'tbody tr[data-id="{runner.pk}"]')).to_have_attribute("data-status", "paused")
    expect(page.locator(".feed li").first).to_contain_text("is paused")


def test_the_web_process_may_die_and_come_back(web: Stack, operator: User, open_page: OpenPage) -> None:
    runner = make_runner()
    page = open_page(web, operator)
    page.goto("/")
    expect_live(page)
    web.kill("web")
    to(runner, RunnerStatus.PAUSED)
    web.start("web")
    expect(page.locator(f'tbody tr[data-id="{runner.pk}"]')).to_have_attribute("data-status", "paused")
    expect_live(page)


def test_a_signed_out_page_goes_to_the_sign_in(web: Stack, operator: User, open_page: OpenPage) -> None:
    page = open_page(web, operator)
    page.goto("/runners/")
    expect_live(page)
    page.context.clear_cookies()
    web.kill("web")
    web.start("web")
    expect(page).to_have_url(re.compile(r"/login/\?next="))


def test_new_messages_appear_in_the_conversation(web: Stack, operator: User, open_page: OpenPage) -> None:
    runner = make_runner(backend="claude_code")
    session = runner.session
    assert session is not None
    say = {"session": session, "runner": runner, "role": "assistant", "at": runner.created_at}
    Message.objects.create(**say, key="1", text="Looking into it.")
    page = open_page(web, operator)
    page.goto(f"/runners/{runner.pk}/")
    expect(page.locator(".talk")).to_contain_text("Looking into it.")
    expect_live(page)
    Message.objects.create(**say, key="2", text="Found <b>it</b>.")
    session.message_count = 2
    session.save()
    # What the node agent says once a second.
    tell = {"node": "here", "rows": [], "sessions": [str(session.pk)]}
    # In a thread: Playwright's loop runs in this one.
    with ThreadPoolExecutor() as pool:
        pool.submit(asyncio.run, observed(tell)).result()
    expect(page.locator(".talk")).to_contain_text("Found <b>it</b>.")


def test_everything_works_without_javascript(web: Stack, operator: User, open_page: OpenPage) -> None:
    project = make_project()
    make_node(name="here")
    page = open_page(web, operator, java_script_enabled=False)
    page.goto("/launch/")
    page.check("input[name=backend][value=command]", force=True)
    page.select_option("[name=project]", project.name)
    page.fill("[name=command]", "sleep 60")
    page.get_by_role("button", name="Launch").click()
    expect(page.locator("h1 .status")).to_have_text("Starting")
    expect(page.locator("#flash")).to_contain_text("is starting")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("h1 .status")).to_have_text("Stopping")
    frame = page.frame_locator("iframe.plain-output")
    expect(frame.locator("body")).to_contain_text("does not answer")


def test_keys_lead_everywhere(web: Stack, operator: User, open_page: OpenPage) -> None:
    page = open_page(web, operator)
    page.goto("/")
    for keys, address in (
        ("gr", "/runners/"),
        ("gs", "/sessions/"),
        ("ge", "/events/"),
        ("go", "/"),
        ("l", "/launch/"),
    ):
        expect(page.locator("live-state")).not_to_have_attribute("data-state", "off")
        for key in keys:
            page.keyboard.press(key)
        expect(page).to_have_url(web.url + address)
    page.goto("/runners/")
    expect(page.locator("live-state")).not_to_have_attribute("data-state", "off")
    page.keyboard.press("/")
    expect(page.locator("input[type=search]")).to_be_focused()
    page.keyboard.press("g")
    expect(page.locator("input[type=search]")).to_have_value("g")
    page.locator("h1").click()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()


def test_the_theme_is_remembered(web: Stack, operator: User, open_page: OpenPage) -> None:
    page = open_page(web, operator, color_scheme="dark")
    page.goto("/")
    page.get_by_role("button", name="Switch between dark and light").click()
    page.goto("/runners/")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("address", ["/", "/runners/", "/launch/", "/sessions/", "/projects/", "/nodes/", "/events/"])
def test_no_page_is_wider_than_a_phone(web: Stack, operator: User, open_page: OpenPage, address: str) -> None:
    make_runner(prompt="A rather long prompt that has to be cut somewhere " * 4)
    page = open_page(web, operator, **PHONE)
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_content_policy_stops_a_foreign_script_and_nothing_of_ours(
    web: Stack, operator: User, open_page: OpenPage
) -> None:
    runner = make_runner()
    page = open_page(web, operator)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(f"/runners/{runner.pk}/")
    expect(page.locator(".xterm")).to_be_visible()
    assert complaints == []
    page.evaluate("document.head.append(Object.assign(document.createElement('script'), {text: 'window.bad = 1'}))")
    assert page.evaluate("window.bad") is None


def test_a_session_of_another_user_may_look_and_not_touch(web: Stack, reader: User, open_page: OpenPage) -> None:
    runner = make_runner()
    page = open_page(web, reader)
    page.goto(f"/runners/{runner.pk}/")
    expect(page.get_by_text("Read only")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
