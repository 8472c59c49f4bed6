"""A conversation in a real browser: read by keys, and reached from a hit of the search."""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from runners.models import Message
from runners.services.search_index import index_the_rest
from tests.dashboard.talk import Talk
from tests.runners.factories import make_runner
from tests.stack import Stack

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


def reads(page: Page, message: Message) -> None:
    expect(page.locator(f"#m{message.pk}")).to_be_focused()
    expect(page.locator(f"#m{message.pk}")).to_be_in_viewport()


def test_a_conversation_is_walked_through_unfolded_and_its_errors_found_by_keys(
    web: Stack, operator: User, open_page: OpenPage
) -> None:
    talk = Talk(make_runner(backend="claude_code"))
    asked = talk.ask("Look into it.")
    used = talk.use("Bash", {"command": "ls"}, "a\nb")
    edited = talk.use("Edit", {"file_path": "x", "old_string": "a", "new_string": "b"}, "done")
    for number in range(30):
        talk.say(f"Thought {number}.\n\nAnd so on.")
    failed = talk.use("Bash", {"command": "false"}, "exit 1", is_error=True)
    last = talk.say("It failed.")
    page = open_page(web, operator)
    page.goto(f"/sessions/{talk.session.pk}/")
    keys = page.keyboard
    for message in (asked, used):
        keys.press("j")
        reads(page, message)
    details = page.locator(f"#m{used.pk} details")
    expect(details).not_to_have_attribute("open", re.compile(".*"))
    keys.press("o")
    expect(details).to_have_attribute("open", re.compile(".*"))
    expect(details.locator(".printed")).to_be_visible()
    keys.press("j")
    reads(page, edited)
    keys.press("k")
    reads(page, used)
    keys.press("Shift+O")
    expect(page.locator(".talk details:not([open])")).to_have_count(0)
    expect(page.locator(f"#m{edited.pk} .add")).to_be_visible()
    keys.press("Shift+O")
    # A failed one is open from the start, and shut with the others.
    expect(page.locator(".talk details[open]")).to_have_count(0)
    keys.press("e")
    reads(page, failed)
    keys.press("j")
    reads(page, last)
    # Where somebody types, keys are letters.
    page.goto("/search/")
    page.locator("[data-search]").press_sequentially("jo")
    expect(page.locator("[data-search]")).to_have_value("jo")


def test_a_hit_leads_to_its_message_among_hundreds_and_back_into_the_run(
    web: Stack, operator: User, open_page: OpenPage
) -> None:
    talk = Talk(make_runner(backend="claude_code"))
    talk.much(300)
    found = talk.use("Bash", {"command": "ls"}, "a heron stood there")
    result = Message.objects.get(role="tool")
    for number in range(300):
        talk.say(f"Later {number}.")
    index_the_rest()
    page = open_page(web, operator)
    page.goto("/search/?q=heron&mode=text")
    page.locator("a.hit").click()
    expect(page).to_have_url(re.compile(rf"\?around={result.pk}#m{result.pk}$"))
    shown = page.locator(f"#m{found.pk}")
    expect(shown.locator("details")).to_have_attribute("open", re.compile(".*"))
    expect(shown).to_be_in_viewport()
    expect(shown).to_contain_text("a heron stood there")
