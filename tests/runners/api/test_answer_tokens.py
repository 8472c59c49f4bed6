"""A message tells what the answer used that it belongs to, where the program says so."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runners.backends.base import UsageFact
from runners.models import Message, Session
from runners.services.ledger import enter_usage
from tests.runners.factories import make_runner

pytestmark = pytest.mark.django_db


def test_messages_of_one_answer_tell_its_tokens_and_others_none(admin_client: Client) -> None:
    runner = make_runner(backend="claude_code")
    session = runner.session
    assert session is not None
    Session.objects.filter(pk=session.pk).update(backend="claude_code")
    now = timezone.now()
    for key, role in [
        ("prompt:1:1", "user"),
        ("m1:text:aa", "assistant"),
        ("m1:t1", "assistant"),
        ("result:t1", "tool"),
    ]:
        Message.objects.create(session=session, runner=runner, key=key, role=role, at=now)
    Message.objects.create(session=session, runner=runner, key="m2:text:bb", role="assistant", at=now)
    enter_usage(
        session,
        runner,
        [
            UsageFact(key="usage:m1:10.0.0.0", input_tokens=10, at=now),
            UsageFact(key="usage:m1:10.7.0.0", output_tokens=7, at=now),
            UsageFact(key="usage:m9:1.0.0.0", input_tokens=1, at=now),
        ],
    )
    listed = admin_client.get(reverse("session-messages", args=[session.pk])).json()["results"]
    told = [message["answer_tokens"] for message in listed]
    used = {"input_tokens": 10, "output_tokens": 7, "cache_read_tokens": 0, "cache_write_tokens": 0}
    assert told == [None, used, used, None, None]


def test_a_program_that_tells_of_no_answers_costs_no_question(admin_client: Client) -> None:
    runner = make_runner()
    assert runner.session is not None
    Message.objects.create(session=runner.session, runner=runner, key="m1", role="assistant", at=timezone.now())
    (message,) = admin_client.get(reverse("session-messages", args=[runner.session_id])).json()["results"]
    assert message["answer_tokens"] is None
