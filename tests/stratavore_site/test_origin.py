"""Acts know by which door they came."""

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from outbox.origin import Origin, current_origin, origin
from outbox.states import Source
from stratavore_site.origin import OriginMiddleware, client_ip, come_from_task


def ask(path: str) -> Origin:
    seen: list[Origin] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(current_origin())
        return HttpResponse()

    OriginMiddleware(view)(RequestFactory().get(path))
    return seen[0]


@pytest.mark.parametrize(
    ("path", "source"), [("/runners/", Source.PAGE), ("/api/v1/runners/", Source.API), ("/admin/x/", Source.ADMIN)]
)
def test_a_request_comes_by_the_door_of_its_address(path: str, source: Source) -> None:
    assert ask(path) == Origin(source, ip="127.0.0.1")
    assert current_origin() == Origin()


def test_behind_our_proxy_the_address_is_the_one_that_the_proxy_saw(settings: Settings) -> None:
    request = RequestFactory(HTTP_X_FORWARDED_FOR="1.1.1.1, 192.0.2.7").get("/")
    settings.HTTPS = False
    assert client_ip(request) == "127.0.0.1"
    settings.HTTPS = True
    assert client_ip(request) == "192.0.2.7"


def test_a_task_names_itself() -> None:
    with origin(Origin()):
        come_from_task(task_id="42")
        assert current_origin() == Origin(Source.TASK, request_id="42")
