"""How the outbox fared, drawn in the admin."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from outbox.chart import charts, seconds
from outbox.models import Entry, OutboxSample
from outbox.services.sample import KEPT, take_sample
from tests.outbox.stream import happen

pytestmark = pytest.mark.django_db
LIST = "/admin/outbox/entry/"


def sample(minutes_ago: float, pending: int = 0, dead: int = 0, lag: float = 0.0) -> None:
    at = timezone.now() - timedelta(minutes=minutes_ago)
    OutboxSample.objects.create(at=at, pending=pending, dead=dead, lag_seconds=lag, sequence=0)


def test_a_sample_holds_what_waits_how_long_and_what_is_dead() -> None:
    for n in range(3):
        happen("a:1", n)
    Entry.objects.update(created_at=timezone.now() - timedelta(seconds=30))
    taken = take_sample()
    assert (taken.pending, taken.dead) == (3, 0)
    assert taken.lag_seconds >= 30
    assert taken.sequence > 0


def test_samples_are_forgotten_after_a_week() -> None:
    sample(KEPT / timedelta(minutes=1) + 1)
    sample(5)
    take_sample()
    assert OutboxSample.objects.count() == 2


def test_the_admin_shows_real_figures_and_other_spans(admin_client: Client) -> None:
    for minute in range(50, 0, -1):
        sample(minute, pending=minute * 10, lag=minute * 60.0)
    happen("a:1")
    page = admin_client.get(LIST, {"hours": "1"}).content.decode()
    assert "Waiting: 1" in page
    assert "at most 500" in page
    assert "at most 50 min" in page
    assert len(re.findall(r'<path d="M[\d.]+ [\d.]+L', page)) == 3
    assert "status__exact" in admin_client.get(LIST, {"hours": "168", "status__exact": "dead"}).content.decode()
    assert admin_client.get(LIST, {"hours": "nonsense"}).status_code == 200


def test_a_line_is_broken_where_nobody_looked_and_keeps_the_worst() -> None:
    for minute in (55, 54, 53, 20, 19):
        sample(minute, pending=1)
    sample(18.5, pending=100)
    waiting = charts("1").charts[1]
    assert waiting.most == "100"
    # One piece before the gap, one after it, and now.
    assert waiting.path.count("M") == 3


def test_without_samples_the_admin_says_so(admin_client: Client) -> None:
    assert "Nothing recorded yet" in admin_client.get(LIST).content.decode()


@pytest.mark.parametrize(("value", "words"), [(0, "0.0 s"), (75.04, "75.0 s"), (600, "10 min"), (7_200, "2.0 h")])
def test_durations_are_said_as_people_do(value: float, words: str) -> None:
    assert seconds(value) == words
