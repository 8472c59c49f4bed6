"""Fixtures of the dashboard's tests: a signed-in client, websockets, and a browser."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, sync_playwright

from tests.callers import make_user
from tests.stack import Stack


@pytest.fixture
def operator(db: None) -> User:
    return make_user("ada", is_superuser=True, is_staff=True)


@pytest.fixture
def reader(db: None) -> User:
    """A user without any permission."""
    return make_user("grace")


@pytest.fixture
def client(operator: User) -> Client:
    """A client that may do everything."""
    return signed_in(operator)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture(scope="module")
def chromium(chromium_path: str) -> Iterator[Browser]:
    """A browser for one module's tests.

    Not the plugin's, which lives as long as the session: its event loop would run on under the tests that bring one.
    """
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    # Playwright runs a loop in this thread, so Django would take the test's own queries for queries of that loop.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def web(make_stack: Callable[..., Stack]) -> Stack:
    """The web alone, over the test's database."""
    stack = make_stack()
    stack.start("web")
    return stack


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages signed in as a user; an error in a page's scripts fails the test."""
    contexts, errors = [], []

    def open_(stack: Stack, user: User | None, **options: Any) -> Page:
        context = chromium.new_context(base_url=stack.url, **options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        if user is not None:
            cookie = signed_in(user).cookies[settings.SESSION_COOKIE_NAME].value
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": stack.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []
