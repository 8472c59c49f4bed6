import time
from typing import Any

import pytest
from celery import current_app
from django.db import transaction
from pytest_django import DjangoCaptureOnCommitCallbacks

from outbox.services.wake import wake
from outbox.sinks import waker
from outbox.tasks import relay
from tests.outbox.stream import HAPPENED, celery_on, happen, wait_for

WAKE_QUEUE = "outbox.wake"


def waiting() -> int:
    with current_app.connection_for_read() as connection:
        declared: Any = current_app.amqp.queues[WAKE_QUEUE](connection.default_channel).queue_declare()
        return int(declared.message_count)


@pytest.fixture(autouse=True)
def _empty_queue() -> None:
    with current_app.connection_for_read() as connection:
        current_app.amqp.queues[WAKE_QUEUE](connection.default_channel).purge()


@pytest.mark.django_db
def test_a_transaction_wakes_the_relay_once(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks() as callbacks, transaction.atomic():
        for n in range(3):
            happen("a:1", n)
    assert len(callbacks) == 1


@pytest.mark.django_db(transaction=True)
def test_many_commits_leave_one_wake_up_waiting() -> None:
    for n in range(20):
        happen("a:1", n)
        time.sleep(waker.GAP_SECONDS)
    wait_for(waiting, what="a wake-up")
    assert waker._wakers[waker.RELAY_TASK].quiet.wait(5)
    assert waiting() == 1


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_does_not_hold_up_the_caller() -> None:
    with celery_on("redis://127.0.0.1:1/0"):
        started = time.monotonic()
        for n in range(10):
            happen("a:1", n)
        wake()
        assert time.monotonic() - started < 2
        assert waker._wakers[waker.RELAY_TASK].quiet.wait(5)
    # The thread has rested, and sends again.
    wake()
    wait_for(waiting, what="a wake-up after the broker came back")


@pytest.mark.django_db(transaction=True)
def test_the_task_of_a_wake_up_delivers() -> None:
    from outbox.models import Entry

    happen("a:1")
    relay()
    assert Entry.objects.get(type=HAPPENED).status == "delivered"
