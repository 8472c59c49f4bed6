"""The inbox: what waits is shown as it is, answered by button and key, live, and by nobody who may not."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, expect

from dashboard.approval_rows import visible
from runners.models import Approval, ApprovalRule
from tests.dashboard.conftest import signed_in
from tests.runners.approvals.asking import ask, asking_runner
from tests.runners.teller import teller as teller
from tests.stack import Stack

OpenPage = Callable[..., Page]


@pytest.mark.django_db
def test_it_asks_for_a_sign_in_and_says_what_to_do_when_empty(client: Client) -> None:
    assert Client().get("/approvals/")["Location"] == "/login/?next=/approvals/"
    assert "Nobody asks for anything" in client.get("/approvals/").content.decode()
    assert "No rules yet" in client.get("/approvals/rules/").content.decode()


@pytest.mark.django_db
def test_what_a_program_wants_is_shown_as_it_is_and_can_hide_nothing(client: Client) -> None:
    ask(
        asking_runner(),
        tool="<script>alert(1)</script>",
        command="echo '<img src=x onerror=alert(1)>'\nrm -rf \u202egnp.exe\x07",
    )
    page = client.get("/approvals/").content.decode()
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "rm -rf \\u202egnp.exe\\u0007" in page
    assert "\u202e" not in page


@pytest.mark.django_db
def test_an_edit_is_shown_as_a_change(client: Client) -> None:
    runner = asking_runner()
    ask(runner, tool="Edit", file_path="/srv/a.py", old_string="one\ntwo", new_string="one\nthree", replace_all=True)
    (row,) = client.get("/approvals/").context["waiting"]
    assert ("del", "-two") in row["lines"]
    assert ("add", "+three") in row["lines"]
    assert any("replace_all" in line for _, line in row["lines"])
    assert row["about"] == "/srv/a.py"


@pytest.mark.django_db
def test_more_than_a_card_shows_is_said(client: Client) -> None:
    ask(asking_runner(), command="echo begin\n" * 500)
    assert "There is more than is shown here" in client.get("/approvals/").content.decode()


def test_of_very_many_that_wait_it_is_said_how_many_more_there_are(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.approval_rows.WAITING_SHOWN", 2)
    monkeypatch.setattr("dashboard.views.approvals.WAITING_SHOWN", 2)
    runner = asking_runner()
    for number in range(5):
        ask(runner, f"q{number}", start=10 * (number + 1))
    page = client.get("/approvals/").content.decode()
    assert page.count("data-approval ") == 2
    assert "3 more wait; these expire first." in page


def test_plain_text_of_any_language_stays_as_it_is() -> None:
    assert visible("größe 文字 ok\n\tx") == "größe 文字 ok\n\tx"
    assert visible("a\u200bb\x1b[31m") == "a\\u200bb\\u001b[31m"


@pytest.mark.django_db
def test_it_is_answered_by_button_and_goes_back_to_where_it_was(client: Client) -> None:
    runner = asking_runner()
    approval = ask(runner)
    page = f"/runners/{runner.pk}/"
    assert str(approval.pk) in client.get(page).content.decode()
    answer = client.post(f"/approvals/{approval.pk}/decide/", {"answer": "deny", "message": "No.", "next": page})
    assert answer["Location"] == page
    approval.refresh_from_db()
    assert (approval.state, approval.message, approval.decided_by) == ("denied", "No.", "user:ada")
    again = client.post(
        f"/approvals/{approval.pk}/decide/", {"answer": "allow", "next": "https://evil.example/"}, follow=True
    )
    assert again.redirect_chain == [("/approvals/", 302)]
    assert "It was denied by user:ada before." in again.content.decode()


@pytest.mark.django_db
def test_who_may_not_decide_sees_it_without_buttons(reader: User) -> None:
    approval = ask(asking_runner())
    client = signed_in(reader)
    page = client.get("/approvals/").content.decode()
    assert "Bash" in page
    assert "Allow once" not in page
    assert client.post(f"/approvals/{approval.pk}/decide/", {"answer": "allow"}).status_code == 403
    assert client.post("/approvals/rules/", {"effect": "allow", "tool": "Bash"}).status_code == 403
    assert Approval.objects.get().state == "waiting"


@pytest.mark.django_db
def test_rules_are_made_tried_moved_switched_and_deleted(client: Client) -> None:
    for pattern in ("git *", "npm *"):
        typed = {"effect": "allow", "tool": "Bash", "pattern": pattern, "scope": "global"}
        assert client.post("/approvals/rules/", typed)["Location"] == "/approvals/rules/"
    refused = client.post("/approvals/rules/", {"effect": "deny", "tool": "Bash", "scope": "agent"})
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["scope_key"])
    git, npm = ApprovalRule.objects.order_by("position")
    client.post(f"/approvals/rules/{npm.pk}/up/")
    assert [rule.pattern for rule in ApprovalRule.objects.order_by("position")] == ["npm *", "git *"]
    tried = client.get("/approvals/rules/", {"tool": "Bash", "wants": "git add . && git push"})
    assert (tried.context["trial"]["answer"], tried.context["trial"]["parts"]) == ("allow", ["git add .", "git push"])
    client.post(f"/approvals/rules/{git.pk}/off/")
    assert client.get("/approvals/rules/", {"tool": "Bash", "wants": "git x"}).context["trial"]["answer"] == "ask"
    client.post(f"/approvals/rules/{git.pk}/delete/")
    assert ApprovalRule.objects.get() == npm


@pytest.mark.browser
def test_questions_arrive_and_are_answered_by_keys_without_a_reload(
    web: Stack, operator: User, open_page: OpenPage
) -> None:
    runner = asking_runner()
    page = open_page(web, operator)
    page.goto("/approvals/")
    expect(page.locator("live-state")).to_have_attribute("data-state", "live")
    expect(page.get_by_role("heading", name="Nobody asks for anything")).to_be_visible()
    for number, command in enumerate(["npm test", "npm publish", "rm -rf build"]):
        ask(runner, f"q{number}", start=10 * (number + 1), command=command)
    cards = page.locator("[data-approval]")
    expect(cards).to_have_count(3)
    badge = page.locator("nav live-count.asks")
    expect(badge).to_have_text("3")
    expect(cards.first.locator("time-left")).to_have_text(re.compile("59 m|1 h"))
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(cards.nth(1)).to_have_attribute("data-chosen", "")
    page.keyboard.press("d")
    expect(cards).to_have_count(2)
    expect(page.locator("#flash")).to_contain_text("Denied: Bash: npm publish")
    expect(badge).to_have_text("2")
    page.keyboard.press("k")
    page.keyboard.press("s")
    expect(cards).to_have_count(1)
    assert ApprovalRule.objects.get().pattern == "npm test"
    cards.first.get_by_placeholder("Why not?").fill("Keep it.")
    ask(asking_runner(), "other", command="ls")  # what is typed is not swapped away
    expect(badge).to_have_text("2")
    cards.first.get_by_role("button", name="Deny").click()
    expect(page.locator("#flash")).to_contain_text("Denied: Bash: rm -rf build")
    states = {each.request_id: (each.state, each.message) for each in Approval.objects.all()}
    assert states == {
        "q0": ("allowed", ""),
        "q1": ("denied", "That was denied."),
        "q2": ("denied", "Keep it."),
        "other": ("waiting", ""),
    }


@pytest.mark.browser
def test_a_runners_own_page_shows_what_it_asks_as_soon_as_it_does(
    web: Stack, operator: User, open_page: OpenPage
) -> None:
    runner = asking_runner()
    page = open_page(web, operator)
    page.goto(f"/runners/{runner.pk}/")
    expect(page.locator("live-state")).to_have_attribute("data-state", "live")
    ask(runner, command="npm test")
    page.get_by_role("button", name="Allow once").click()
    expect(page.locator("[data-approval]")).to_have_count(0)
    assert Approval.objects.get().state == "allowed"
