"""The job board in a real browser: dragging, keys, and changes that appear by themselves."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agents.services import comment_on, create_job
from tests.agents.factories import ACTOR, make_agent, make_job, make_work, now_of, run_and_end
from tests.dashboard.test_browser import PHONE, expect_live
from tests.stack import Stack

pytestmark = pytest.mark.browser

OpenPage = Callable[..., Page]


def test_a_card_is_dragged_where_it_may_go_and_refused_elsewhere(
    web: Stack, operator: User, open_page: OpenPage
) -> None:
    job = make_job(title="Mend it")
    # Wide enough for all columns: a browser scrolls under a held card by itself, the test's mouse does not wait for it.
    page = open_page(web, operator, viewport={"width": 1600, "height": 900})
    page.goto("/jobs/")
    expect_live(page)
    held = page.locator(f'[data-job="{job.pk}"]')
    held.drag_to(page.locator('[data-column="completed"] ol'))
    expect(page.locator(".flash.error")).to_contain_text("cannot go from pending to completed")
    assert now_of(job).status == "pending"
    held.drag_to(page.locator('[data-column="cancelled"] ol'))
    expect(page.locator(f'[data-column="cancelled"] [data-job="{job.pk}"]')).to_be_visible()
    assert now_of(job).status == "cancelled"


def test_the_board_is_gone_about_with_keys(web: Stack, operator: User, open_page: OpenPage) -> None:
    first, second = make_job(title="First", priority="high"), make_job(title="Second")
    page = open_page(web, operator)
    page.goto("/jobs/")
    page.locator(f'[data-job="{first.pk}"] .job-title').focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(f'[data-job="{second.pk}"] .job-title')).to_be_focused()
    page.keyboard.press("m")
    page.keyboard.press("ArrowDown")
    expect(page.locator(f'[data-job="{second.pk}"] button[value="cancelled"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(f'[data-column="cancelled"] [data-job="{second.pk}"]')).to_be_visible()


def test_what_others_do_appears_and_what_is_being_typed_stays(web: Stack, operator: User, open_page: OpenPage) -> None:
    job = make_job(title="Mend it")
    page = open_page(web, operator)
    page.goto("/jobs/")
    expect_live(page)
    other = create_job(title="Another", actor=ACTOR)
    expect(page.locator(f'[data-column="pending"] [data-job="{other.pk}"]')).to_be_visible()
    page.goto("/agents/")
    expect_live(page)
    agent = make_agent()
    expect(page.get_by_role("link", name=agent.name)).to_be_visible()
    page.goto(f"/jobs/{job.pk}/")
    expect_live(page)
    page.fill("#comment", "Half a sent")
    comment_on(job.pk, "Me first.", actor=ACTOR)
    # Longer than a refresh takes: the panel waits for the writer.
    page.wait_for_timeout(2_500)
    expect(page.locator("#comment")).to_have_value("Half a sent")
    page.fill("#comment", "")
    expect(page.locator(".comments")).to_contain_text("Me first.")


def test_jobs_and_agents_are_chosen_with_keys_and_stay_chosen_while_others_work(
    web: Stack, operator: User, open_page: OpenPage
) -> None:
    first, second = make_job(title="First", priority="high"), make_job(title="Second")
    page = open_page(web, operator)
    page.goto("/jobs/")
    expect_live(page)
    page.locator(f'[data-job="{first.pk}"] .job-title').focus()
    page.keyboard.press("x")
    expect(page.locator(".batch")).to_contain_text("With the 1 chosen:")
    other = create_job(title="Another", actor=ACTOR)
    expect(page.locator(f'[data-job="{other.pk}"]')).to_be_visible()
    expect(page.locator(f'[data-job="{first.pk}"] .choose')).to_be_checked()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    expect(page.locator(f'[data-job="{second.pk}"] .choose')).to_be_checked()
    page.keyboard.press("b")
    page.locator('#batch button[value="job.cancel"]').press("Enter")
    expect(page.get_by_role("heading", name="Cancel 2 jobs?")).to_be_visible()
    agents = [make_agent() for _ in range(3)]
    page.goto("/agents/")
    expect_live(page)
    boxes = page.locator("tbody input.choose")
    boxes.nth(0).click()
    boxes.nth(2).click(modifiers=["Shift"])
    expect(page.locator(".batch")).to_contain_text(f"With the {len(agents)} chosen:")
    page.keyboard.press("Escape")
    expect(page.locator(".batch")).to_contain_text("With all 3 that match:")


def test_no_page_of_the_workforce_is_wider_than_a_phone(web: Stack, operator: User, open_page: OpenPage) -> None:
    work = make_work(title="A rather long title that has to be cut somewhere " * 3)
    run_and_end(work)
    page = open_page(web, operator, **PHONE)
    for address in ("/agents/", f"/agents/{work.worker}/", "/jobs/", f"/jobs/{work.job_id}/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, address
