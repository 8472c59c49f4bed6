"""Limits of providers on the pages: the banner, who waits, its countdown, and its end by hand."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, expect

from runners.models import ProviderLimit, Runner
from runners.services.provider_limits import clear_limit
from runners.sql import database_now
from tests.callers import make_user
from tests.dashboard.conftest import signed_in
from tests.runners.teller import Teller
from tests.runners.teller import teller as teller
from tests.runners.test_provider_limits import launch, limited, running
from tests.stack import Stack, wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Teller, "provider", "tellers")


@pytest.mark.parametrize("address", ["/", "/runners/"])
def test_a_limit_is_told_with_its_end_its_words_and_who_waits(client: Client, address: str) -> None:
    assert 'class="notice limit"' not in client.get(address).content.decode()
    runner, until = running(), database_now() + timedelta(hours=1)
    limited(runner, until)
    ProviderLimit.objects.update(note="<b>The five hour limit</b> is reached.")
    launch(runner.project)
    launch(runner.project)
    page = client.get(address).content.decode()
    label = ProviderLimit.objects.get().label
    assert f"<strong>{label}</strong> is rate limited" in page
    assert re.search(rf'<time-left to="{until:%Y-%m-%dT%H:%M:%S}', page)
    assert "2 runners wait." in page
    assert "&lt;b&gt;The five hour limit" in page


def test_of_an_end_that_nobody_told_it_is_said_that_it_is_tried_again(client: Client) -> None:
    limited(running(on_limit="wait"), ends=True)
    page = client.get("/runners/").content.decode()
    assert "was refused by its provider; tried again in <span" in page
    assert "1 runner waits." in page


def test_only_who_may_ends_it(client: Client, reader: User) -> None:
    limited(running(), database_now() + timedelta(hours=1))
    limit = ProviderLimit.objects.get()
    address = f"/limits/{limit.pk}/clear/"
    assert "End it" not in signed_in(reader).get("/runners/").content.decode()
    assert signed_in(reader).post(address).status_code == 403
    steward = signed_in(make_user("steward", "runners.clear_limit"))
    assert "End it" in steward.get("/runners/").content.decode()
    page = steward.post(address, follow=True).content.decode()
    assert f"{limit.label}: whoever waits starts now." in page
    assert 'class="notice limit"' not in page
    assert client.post("/limits/0/clear/").status_code == 404


@pytest.mark.browser
def test_a_limit_arrives_counts_down_and_goes_without_a_reload(
    web: Stack, operator: User, open_page: Callable[..., Page]
) -> None:
    runner = running()
    page = open_page(web, operator)
    page.goto("/runners/")
    expect(page.locator("live-state")).to_have_attribute("data-state", "live")
    banner = page.locator("#limits .limit")
    expect(banner).to_have_count(0)
    limited(runner, database_now() + timedelta(minutes=50))
    expect(banner).to_be_visible()

    def left() -> int:
        found = re.fullmatch(r"(\d+) m (\d\d) s", banner.locator("time-left").inner_text())
        assert found, banner.inner_text()
        return int(found[1]) * 60 + int(found[2])

    first = left()
    assert 2_900 < first <= 3_000
    wait_until(lambda: left() < first, "it counts down", 20)

    waits: Runner = launch(runner.project)
    page.goto(f"/runners/{waits.pk}/")
    expect(page.locator(".reason")).to_contain_text("waits: provider limit of Teller")
    expect(page.get_by_role("button", name="Start anyway")).to_be_visible()
    page.goto(f"/runners/{runner.pk}/")
    expect(page.locator("#activity time-left")).to_have_text(re.compile(r"\d+ m \d\d s"))

    page.goto("/")
    expect(page.locator("live-state")).to_have_attribute("data-state", "live")
    expect(banner).to_contain_text("1 runner waits.")
    clear_limit(ProviderLimit.objects.get().pk, actor="user:bob")
    expect(banner).to_have_count(0)
