"""The replay of an attempt: its recording from storage or node, marks for what was said, a browser that plays it."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page, expect

from dashboard.push import observed
from dashboard.replay import attempts_of
from runners.backends.base import LaunchRequest
from runners.models import Attempt, Message, Runner, Session, Transcript
from runners.services import launch_runner
from runners.services.transcripts.store import Place
from runners.states import TranscriptKind
from tests.dashboard.conftest import signed_in
from tests.dashboard.talk import Talk
from tests.runners.factories import make_project, make_runner, store
from tests.stack import Stack, wait_until

OpenPage = Callable[..., Page]


def attempt_of(runner: Runner, **fields: Any) -> Attempt:
    """Make the row of a runner's attempt that began when the runner was made."""
    began = {"placed_at": runner.created_at, "started_at": runner.created_at, "status": runner.status}
    told = {"generation": 1, "node": runner.node, **began, **fields}
    return Attempt.objects.create(runner=runner, session=runner.session, **told)


def lines(answer: Any) -> list[Any]:
    return [json.loads(line) for line in answer.content.decode().splitlines()]


def becomes(page: Page, true: str) -> None:
    """Wait for it from outside: the page's policy forbids its own polling."""
    wait_until(lambda: page.evaluate(true), true, 15)


def grown(session: Session) -> None:
    """Tell the pages, as the node agent does once a second."""
    told = {"node": "here", "rows": [], "sessions": [str(session.pk)]}
    # In a thread: Playwright's loop runs in this one.
    with ThreadPoolExecutor() as pool:
        pool.submit(asyncio.run, observed(told)).result()


@pytest.mark.django_db
def test_of_a_program_without_a_terminal_what_was_said_is_drawn_at_its_time(client: Client) -> None:
    runner = make_runner(backend="claude_code")
    attempt_of(runner)
    talk = Talk(runner, step=timedelta(seconds=2))
    talk.ask("Look.\x1b]0;title\x07")
    talk.use("Bash", {"command": "ls \x1b[2J"}, "\x1b[31mred\x1b[0m\n" * 40)
    talk.use("Edit", {"file_path": "x", "old_string": "a", "new_string": "b"}, "done")
    answer = client.get(f"/runners/{runner.pk}/recordings/1/")
    assert (answer["X-End"], answer["X-Source"]) == ("1", "messages")
    header, *events = lines(answer)
    assert (header["version"], header["width"]) == (2, 110)
    assert [event[0] for event in events] == [2.0, 4.0, 6.0, 8.0, 10.0]
    drawn = "".join(event[2] for event in events)
    assert "\x1b[2J" not in drawn
    assert "title" not in drawn
    assert "… 40 lines" in drawn
    assert "+b" in drawn
    assert "\n" not in drawn.replace("\r\n", "")


@pytest.mark.django_db
def test_a_recording_in_storage_is_read_piece_by_piece_without_its_node(
    client: Client, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"BACKEND": "runners.storages.LocalTranscripts", "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES = {**settings.STORAGES, "transcripts": options}
    monkeypatch.setattr("dashboard.replay_pieces.PIECE_BYTES", 100)
    runner = make_runner()
    attempt_of(runner)
    whole = b'{"version": 2, "width": 80, "height": 24}\n' + '[0.1, "o", "née"]\n'.encode() * 40
    place = Place(runner.pk, 1, TranscriptKind.OUTPUT)
    store(place, 0, whole, whole=hashlib.sha256(whole).hexdigest())
    read, offset, end = b"", 0, "0"
    while end == "0":
        answer = client.get(f"/runners/{runner.pk}/recordings/1/?offset={offset}")
        assert (answer.status_code, answer["X-Source"]) == (200, "storage")
        assert answer["Cache-Control"].startswith("private, max-age")
        read, offset, end = read + answer.content, int(answer["X-Next"]), answer["X-End"]
    assert read == whole
    Transcript.objects.update(removed_at=timezone.now())
    gone = client.get(f"/runners/{runner.pk}/recordings/1/")
    assert (gone.status_code, "It was removed on" in gone.json()["error"]) == (410, True)


@pytest.mark.django_db
def test_what_is_gone_is_said_to_be(client: Client) -> None:
    runner = make_runner()
    attempt_of(runner, node=None)
    answer = client.get(f"/runners/{runner.pk}/recordings/1/")
    assert (answer.status_code, "no recording" in answer.json()["error"]) == (410, True)
    assert client.get(f"/runners/{runner.pk}/recordings/2/").status_code == 404
    other = make_runner()
    attempt_of(other)
    assert client.get(f"/runners/{other.pk}/recordings/1/").json()["error"].endswith("does not answer.")


@pytest.mark.django_db
def test_only_who_is_signed_in_sees_a_recording(reader: User) -> None:
    runner = make_runner(backend="claude_code")
    attempt_of(runner)
    assert Client().get(f"/runners/{runner.pk}/recordings/1/").status_code == 302
    assert signed_in(reader).get(f"/runners/{runner.pk}/recordings/1/").status_code == 200


@pytest.mark.django_db
def test_a_message_leads_to_the_attempt_in_which_it_was_said(client: Client) -> None:
    runner = make_runner(backend="claude_code", generation=2)
    first = attempt_of(runner)
    second = attempt_of(runner, generation=2, placed_at=runner.created_at + timedelta(seconds=5))
    talk = Talk(runner, step=timedelta(seconds=3))
    early, late = talk.say("early"), talk.say("late")
    for message, attempt in ((early, first), (late, second)):
        page = client.get(f"/sessions/{runner.session_id}/?seek={message.pk}")
        replay = page.context["replay"]
        assert (replay.attempt, [mark[2] for mark in replay.marks]) == (attempt, [message.pk])
        assert "wasm-unsafe-eval" in page["Content-Security-Policy"]
        assert "unsafe-eval'" not in page["Content-Security-Policy"].replace("wasm-unsafe-eval", "")
    page = client.get(f"/sessions/{runner.session_id}/")
    assert "cast-player" not in page.content.decode()
    assert "wasm" not in page["Content-Security-Policy"]
    assert len(attempts_of(Session.objects.get(runners=runner))) == 2


@pytest.mark.django_db
def test_what_an_agent_says_cannot_leave_the_marks(client: Client) -> None:
    runner = make_runner(backend="claude_code")
    attempt_of(runner)
    Talk(runner).say("</script><script>alert(1)</script>")
    page = client.get(f"/sessions/{runner.session_id}/?replay=latest").content.decode()
    assert "<script>alert" not in page


@pytest.mark.browser
def test_a_demo_run_is_replayed_from_its_node_and_from_a_message(
    make_stack: Callable[..., Stack], operator: User, open_page: OpenPage
) -> None:
    stack = make_stack()
    stack.start_runners()
    stack.start("web")
    request = LaunchRequest(backend="demo", flags=["--seconds=4", "--steps=4"])
    runner = launch_runner(make_project().name, request, actor="user:ada")
    stack.wait_for(runner, "terminated")
    # The last that is said stays the one that is played: an earlier one is, for some tenths of a second.
    said = wait_until(lambda: Message.objects.filter(runner=runner, text__startswith="Done").last(), "it is done")
    page = open_page(stack, operator)
    page.goto(f"/sessions/{runner.session_id}/")
    page.get_by_role("link", name="Replay", exact=True).click()
    terminal = page.locator("cast-player .ap-term")
    expect(terminal).to_be_visible()
    page.locator("cast-player .ap-player").click()
    # Its first screen, and then, by the link of a message, that message's.
    expect(page.locator(f"#m{said.pk}")).not_to_have_class("playing")
    link = page.locator(f'#m{said.pk} a[data-seek="{said.pk}"]')
    link.evaluate("link => link.click()")
    expect(page.locator(f"#m{said.pk}.playing")).to_be_attached(timeout=15_000)
    page.locator("cast-player [name=speed]").select_option("16")
    expect(page.locator(f"#m{said.pk}.playing")).to_be_attached(timeout=15_000)

    page.goto(f"/sessions/{runner.session_id}/?seek={said.pk}#replay")
    expect(page.locator(f"#m{said.pk}.playing")).to_be_attached(timeout=15_000)


@pytest.mark.browser
def test_at_the_end_of_what_it_has_written_its_terminal_takes_over_live(
    make_stack: Callable[..., Stack], operator: User, open_page: OpenPage
) -> None:
    stack = make_stack()
    stack.start_runners()
    stack.start("web")
    project = make_project()
    script = "for n in 1 2 3; do echo written $n; sleep 0.2; done; while [ ! -e go ]; do sleep 0.1; done; echo after it"
    request = LaunchRequest(backend="command", argv=["bash", "-c", f"{script}; read -r word"])
    runner = stack.wait_for(launch_runner(project.name, request, actor="user:ada"), "running")
    recording = stack.run_directory(runner) / "output.cast"
    wait_until(lambda: "written 3" in recording.read_text(), "it has written")
    page = open_page(stack, operator)
    page.goto(f"/sessions/{runner.session_id}/?replay=latest")
    player, live = page.locator("cast-player"), page.locator("terminal-view")
    expect(player.locator(".ap-term")).to_be_visible()
    expect(live).to_be_hidden()
    player.locator(".ap-player").click()
    expect(live).to_be_visible(timeout=15_000)
    expect(player).to_be_hidden()
    (Path(project.path) / "go").touch()
    becomes(page, "document.querySelector('terminal-view').text.includes('after it')")

    page.get_by_role("button", name="Back to the replay").click()
    expect(live).to_be_hidden()
    expect(player.locator(".ap-term")).to_be_visible()
    # What came since is read.
    becomes(page, "document.querySelector('cast-player').text.includes('after it')")
    page.get_by_role("link", name="Its terminal, live").click()
    expect(live).to_be_visible()


@pytest.mark.browser
def test_the_replay_of_what_is_drawn_goes_on_with_what_is_said(web: Stack, operator: User, open_page: OpenPage) -> None:
    runner = make_runner(backend="claude_code")
    attempt_of(runner)
    talk = Talk(runner)
    talk.ask("Look into it.")
    talk.say("Looking.")
    page = open_page(web, operator)
    page.goto(f"/sessions/{runner.session_id}/?replay=latest")
    expect(page.locator("live-state")).to_have_attribute("data-state", "live")
    screen = page.locator("cast-player .ap-term")
    page.locator("cast-player .ap-player").click()
    expect(screen).to_contain_text("Looking.")
    becomes(page, "document.querySelector('cast-player').isAtEnd()")
    talk.say("Found it.")
    grown(talk.session)
    expect(screen).to_contain_text("Found it.")
    becomes(page, "document.querySelector('cast-player').isAtEnd()")

    # Who looks at its beginning is left there.
    page.evaluate("document.querySelector('cast-player').player.seek(0)")
    expect(screen).not_to_contain_text("Found it.")
    talk.say("Mended it.")
    grown(talk.session)
    expect(page.locator(".talk")).to_contain_text("Mended it.")
    expect(screen).not_to_contain_text("Mended it.")


@pytest.mark.browser
def test_a_recording_that_is_gone_is_said_on_the_page(web: Stack, operator: User, open_page: OpenPage) -> None:
    runner = make_runner(status="terminated", ended_at=timezone.now())
    attempt_of(runner, node=runner.node)
    page = open_page(web, operator)
    page.goto(f"/sessions/{runner.session_id}/?replay=latest")
    expect(page.locator("cast-player .says")).to_contain_text("does not answer", timeout=15_000)
