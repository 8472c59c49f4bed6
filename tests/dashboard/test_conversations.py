"""Pages of a conversation: continue it, fork it, and see what its program is about."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from runners.models import Observation, Session
from tests.dashboard.conftest import signed_in
from tests.dashboard.talk import Talk
from tests.runners.factories import make_node, make_project, make_runner

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("backend", "said", "offered"),
    [
        ("codex", 1, {"Continue", "Fork"}),
        ("gemini", 1, {"Continue", "Fork"}),
        ("codex", 0, set()),
        ("command", 1, set()),
        ("a backend that is gone", 1, set()),
    ],
)
def test_a_session_that_can_be_gone_on_with_offers_it(
    client: Client, backend: str, said: int, offered: set[str]
) -> None:
    session = Session.objects.create(project=make_project(), backend=backend, message_count=said)
    page = client.get(f"/sessions/{session.pk}/").content.decode()
    assert set(re.findall(r"<a class=\"button\"[^>]*session=[^>]*>(\w+)</a>", page)) == offered


def test_the_launch_form_keeps_that_it_is_a_fork(client: Client) -> None:
    session = Session.objects.create(project=make_project(), backend="codex", external_id="their-id")
    page = client.get(f"/launch/?session={session.pk}&fork=1&at=7")
    assert "Goes on with a copy of" in page.content.decode()
    assert page.context["form"]["fork"].value() == "1"
    form = {"project": session.project.name, "backend": "codex", "session_id": str(session.pk), "fork": "1", "at": "7"}
    sent = client.post("/launch/", {**form, "prompt": "Go."}).context["form"]
    assert (sent.request().conversation_mode, sent.request().at_message) == ("fork", 7)


@pytest.fixture
def held() -> Talk:
    """A conversation whose runner has ended, on a node that has the program."""
    node = make_node(programs={"codex": {"path": "/bin/codex", "version": "1"}})
    ended = {"status": "terminated", "ended_at": timezone.now()}
    runner = make_runner(backend="codex", node=node, flags=["--oss"], environment={"A": "b"}, **ended)
    Session.objects.filter(runners=runner).update(backend="codex", external_id="their-id")
    talk = Talk(runner)
    talk.ask("Plant an oak.")
    talk.say("It is planted.")
    return talk


def test_what_is_said_on_the_page_goes_on_in_the_session(client: Client, held: Talk) -> None:
    address = f"/sessions/{held.session.pk}/"
    assert 'name="prompt"' in client.get(address).content.decode()
    answer = client.post(f"{address}resume/", {"prompt": "And a birch."})
    assert answer["Location"] == f"{address}#news"
    again = held.session.runners.latest("created_at")
    assert (again.prompt, again.flags, again.environment) == ("And a birch.", ["--oss"], {"A": "b"})
    page = client.get(address).content.decode()
    assert f"{again.name} works in this session" in page
    refused = client.post(f"{address}resume/", {"prompt": "And a beech."})
    assert refused["Location"].startswith(f"/launch/?session={held.session.pk}&prompt=And+a+beech.")
    assert "wait for its end" in client.get(refused["Location"]).content.decode()


def test_a_fork_and_what_it_came_of_show_each_other(client: Client, held: Talk) -> None:
    said = held.session.messages.get(text="It is planted.")
    answer = client.post(f"/sessions/{held.session.pk}/fork/", {"prompt": "Else.", "at": str(said.pk)})
    fork = Session.objects.get(resumed_from=held.session)
    assert answer["Location"] == f"/sessions/{fork.pk}/#news"
    page = client.get(f"/sessions/{fork.pk}/").content.decode()
    assert f"/sessions/{held.session.pk}/?around={said.pk}#m{said.pk}" in page
    assert f"/sessions/{fork.pk}/" in client.get(f"/sessions/{held.session.pk}/").content.decode()
    assert "Forked" in client.get("/sessions/").content.decode()


def test_a_rebuilt_session_says_so_and_why(client: Client, held: Talk) -> None:
    Session.objects.update(external_id="")
    client.post(f"/sessions/{held.session.pk}/resume/", {"prompt": "And a birch."})
    session = Session.objects.get(began="rebuilt")
    page = client.get(f"/sessions/{session.pk}/").content.decode()
    assert "Rebuilt from the transcript" in page
    assert "because Codex has not told its own id of the conversation" in page


def test_a_fork_at_a_prompt_begins_with_that_prompt_to_be_changed(client: Client, held: Talk) -> None:
    prompt = held.session.messages.get(text="Plant an oak.")
    form = client.get(f"/launch/?session={held.session.pk}&fork=1&at={prompt.pk}").context["form"]
    assert form["prompt"].value() == "Plant an oak."
    assert form["flags"].value() == "--oss"
    page = client.get(f"/launch/?session={held.session.pk}&fork=1&at={prompt.pk}").content.decode()
    assert f"?around={prompt.pk}#m{prompt.pk}" in page


def test_without_the_right_to_launch_a_session_is_only_read(reader: User, held: Talk) -> None:
    client = signed_in(reader)
    page = client.get(f"/sessions/{held.session.pk}/").content.decode()
    assert "go-on" not in page
    assert "fork from here" not in page
    assert client.post(f"/sessions/{held.session.pk}/fork/", {"prompt": "x"}).status_code == 403
    assert client.get(f"/sessions/{held.session.pk}/fork/").status_code == 405


def test_a_limit_of_the_provider_is_on_the_runners_page(client: Client) -> None:
    runner = make_runner()
    limit = {"activity": "rate_limited", "activity_until": timezone.now(), "activity_note": "The weekly limit."}
    Observation.objects.filter(runner=runner).update(**limit)
    page = client.get(f"/runners/{runner.pk}/").content.decode()
    assert "Rate limited" in page
    assert " until <time" in page
    assert "The weekly limit." in page
    Observation.objects.filter(runner=runner).update(activity="")
    assert "<dt>Is about</dt><dd>\N{EN DASH}</dd>" in client.get(f"/runners/{runner.pk}/").content.decode()
