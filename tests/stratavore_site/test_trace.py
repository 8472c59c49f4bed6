"""One trace leads from a request to the events it causes, and on."""

from typing import Any

import pytest
from celery import current_app
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from pytest_django import Settings

from outbox import trace
from outbox.models import Entry
from outbox.origin import Origin, origin
from outbox.services import enqueue, publish
from outbox.services.relay import relay_all
from stratavore_site.origin import OriginMiddleware, come_from_task, leave_trace
from tests.outbox.stream import HAPPENED, happen

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def _only_our_handlers(settings: Settings) -> None:
    settings.AMQP_URL = ""
    settings.OUTBOX_LISTENERS, settings.OUTBOX_BATCH_HANDLERS, settings.OUTBOX_HANDLERS = [], [], {}


def published_by_a_request(**headers: str) -> str:
    def view(request: HttpRequest) -> HttpResponse:
        happen("a:1")
        return HttpResponse()

    OriginMiddleware(view)(RequestFactory().get("/api/", **headers))  # type: ignore[arg-type]
    return Entry.objects.latest("id").traceparent


def trace_id(traceparent: str) -> str:
    return traceparent.split("-")[1]


@pytest.mark.django_db
def test_an_event_belongs_to_its_callers_trace_by_a_hop_of_its_own() -> None:
    found = published_by_a_request(HTTP_TRACEPARENT=CALLER)
    assert trace_id(found) == trace_id(CALLER)
    assert found != CALLER
    assert trace.current() == ""


@pytest.mark.django_db
@pytest.mark.parametrize(
    "header", ["", "nonsense", CALLER.upper(), f"{CALLER}x", "00-" + "0" * 32 + CALLER[35:], f"ff{CALLER[2:]}"]
)
def test_without_a_valid_one_a_trace_begins(header: str) -> None:
    found = published_by_a_request(HTTP_TRACEPARENT=header)
    assert trace.next_hop(found)[:35] == found[:35]
    assert trace_id(found) != trace_id(CALLER)
    assert len(found) == 55


def publish_more(event: Any) -> None:
    if event.payload["n"] == 0:
        publish(HAPPENED, aggregate="a:2", subject="", routing_key="k", data={"n": 1})


@pytest.mark.django_db(transaction=True)
def test_what_a_handler_publishes_belongs_to_its_events_trace(settings: Settings) -> None:
    settings.OUTBOX_HANDLERS = {HAPPENED: ["tests.stratavore_site.test_trace.publish_more"]}
    with trace.following(CALLER):
        happen("a:1", 0)
    relay_all()
    assert Entry.objects.get(aggregate="a:2").traceparent == CALLER


@pytest.mark.django_db(transaction=True)
def test_a_task_carries_the_trace_and_goes_on_with_it() -> None:
    queue = "test-trace"
    with trace.following(CALLER), transaction.atomic():
        enqueue("some.task", args=[1], queue=queue, aggregate="a:1")
    relay_all()
    with current_app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        message = channel.basic_get(queue, no_ack=True)
    assert message.headers[trace.NAME] == CALLER

    class Running:
        request = message.headers

    with origin(Origin()):
        come_from_task(task_id="t", task=Running())
        try:
            assert trace_id(trace.current()) == trace_id(CALLER)
        finally:
            leave_trace()
    assert trace.current() == ""
