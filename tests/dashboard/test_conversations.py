"""Pages of a conversation: continue it, fork it, and see what its program is about."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from runners.models import Observation, Session
from tests.runners.factories import make_project, make_runner

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("backend", "offered"),
    [("codex", {"Continue", "Fork"}), ("gemini", {"Continue"}), ("command", set()), ("a backend that is gone", set())],
)
def test_a_session_offers_what_its_program_can(client: Client, backend: str, offered: set[str]) -> None:
    session = Session.objects.create(project=make_project(), backend=backend, external_id="their-id")
    page = client.get(f"/sessions/{session.pk}/").content.decode()
    assert set(re.findall(r"<a class=\"button\"[^>]*session=[^>]*>(\w+)</a>", page)) == offered


def test_the_launch_form_keeps_that_it_is_a_fork(client: Client) -> None:
    session = Session.objects.create(project=make_project(), backend="codex", external_id="their-id")
    page = client.get(f"/launch/?session={session.pk}&fork=1")
    assert "Goes on with a copy of" in page.content.decode()
    assert page.context["form"]["fork"].value() == "1"
    form = {"project": session.project.name, "backend": "codex", "session_id": str(session.pk), "fork": "1"}
    sent = client.post("/launch/", {**form, "prompt": "Go."}).context["form"]
    assert sent.request().conversation_mode == "fork"


def test_a_limit_of_the_provider_is_on_the_runners_page(client: Client) -> None:
    runner = make_runner()
    limit = {"activity": "rate_limited", "activity_until": timezone.now(), "activity_note": "The weekly limit."}
    Observation.objects.filter(runner=runner).update(**limit)
    page = client.get(f"/runners/{runner.pk}/").content.decode()
    assert "Rate limited until" in page
    assert "The weekly limit." in page
    Observation.objects.filter(runner=runner).update(activity="")
    assert "Is about" not in client.get(f"/runners/{runner.pk}/").content.decode()
