"""A restart goes on in the session where the program can; elsewhere it is told what was said; else it begins anew."""

import json
from typing import Any

import pytest
from django.utils import timezone

from outbox.models import Entry
from runners.backends import get_backend
from runners.backends.base import LaunchRequest
from runners.models import Attempt, Message, Node, Runner, Session, UsageEntry
from runners.services import launch_runner, restart_runner
from runners.services.ingest import ingest
from runners.services.start import specification
from runners.services.telemetry import Batch
from runners.states import NodeStatus, Role, RunnerStatus
from runners.transitions import move
from tests.callers import operator
from tests.runners.factories import make_node, make_project

pytestmark = pytest.mark.django_db
S = RunnerStatus
CLAUDE = {"claude_code": {"path": "/bin/claude", "version": "2"}}
GO_ON = get_backend("claude_code").resumed_prompt


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(get_backend("claude_code")), "find_for", lambda *_: "/bin/claude")


def answer(runner: Runner, text: str = "I do.", key: str = "a") -> None:
    assert runner.session is not None
    Message.objects.create(
        session=runner.session, runner=runner, key=key, role=Role.ASSISTANT, text=text, at=timezone.now()
    )


def go_away(runner: Runner) -> Node:
    """Let the runner's node be offline."""
    assert runner.node is not None
    runner.node.status = NodeStatus.OFFLINE
    runner.node.save()
    return runner.node


def ended(*, external_id: str = "c-1", says: bool = True, reason: str = "exit code 1", **fields: Any) -> Runner:
    """Make a claude_code runner whose first attempt has failed."""
    make_node(programs=CLAUDE)
    request = LaunchRequest(**{"backend": "claude_code", "prompt": "Mend the tests.", **fields})
    runner = launch_runner(make_project().name, request, actor="user:ada")
    Session.objects.filter(runners=runner).update(external_id=external_id)
    if says:
        answer(runner)
    move(runner.pk, S.FAILED, generation=runner.generation, actor="system:test", reason=reason)
    return runner


def spec_of(runner: Runner) -> dict[str, Any]:
    return specification(Runner.objects.select_related("project", "node", "session").get(pk=runner.pk))


def test_a_restart_goes_on_in_the_same_session_with_a_short_prompt() -> None:
    runner = ended()
    first = spec_of(runner)
    assert ("--session-id" in first["argv"], first["stdin"]) == (True, "Mend the tests.")
    again = restart_runner(runner.pk, actor="user:ada")
    spec = spec_of(again)
    assert spec["argv"][spec["argv"].index("--resume") + 1] == "c-1"
    assert (spec["stdin"], again.resumed, again.session_id) == (GO_ON, True, runner.session_id)
    assert again.prompt == "Mend the tests.", "what was asked for stays"
    assert [m.text for m in Message.objects.filter(role=Role.USER).order_by("pk")] == ["Mend the tests.", GO_ON]
    assert list(Attempt.objects.filter(runner=runner).values_list("resumed", flat=True)) == [False, True]
    assert Entry.objects.filter(type="session.resumed").count() == 1
    browser = operator()
    assert "went on in its session" in browser.get(f"/runners/{runner.pk}/").content.decode()
    told = browser.get(f"/api/v1/runners/{runner.pk}/attempts/").json()["results"]
    assert [attempt["resumed"] for attempt in told] == [False, True]


@pytest.mark.parametrize(
    "facts",
    [
        {"external_id": ""},
        {"external_id": "c-1"},
        {"reason": "No conversation found with session ID: c-1"},
    ],
)
def test_with_nothing_said_that_it_could_go_on_with_it_begins_anew(facts: dict[str, Any]) -> None:
    runner = ended(says=False, **facts)
    again = restart_runner(runner.pk, actor="user:ada")
    spec = spec_of(again)
    assert (again.resumed, again.session_id, spec["stdin"]) == (False, runner.session_id, "Mend the tests.")
    assert "--resume" not in spec["argv"]


def test_it_goes_back_to_the_node_that_has_the_conversation_however_full() -> None:
    runner = ended()
    make_node(programs=CLAUDE, slots=99)
    again = restart_runner(runner.pk, actor="user:ada")
    assert (again.node, again.resumed) == (runner.node, True)


def test_elsewhere_it_is_told_what_it_said_and_to_go_on_in_a_session_that_says_why() -> None:
    runner = ended()
    first: Any = runner.session
    lost = go_away(runner)
    other = make_node(programs=CLAUDE)
    again = restart_runner(runner.pk, actor="user:ada")
    session: Any = again.session
    assert (again.node, again.resumed, again.prompt) == (other, False, "Mend the tests.")
    assert (session.began, session.resumed_from, session.title) == ("rebuilt", first, "Mend the tests.")
    assert session.rebuilt_because == f"{lost.name}, which has the conversation, is offline"
    told = spec_of(again)["stdin"]
    assert "[user]\nMend the tests.\n\n[assistant]\nI do." in told
    assert told.endswith(f"Here is what is said to you now:\n{GO_ON}")
    assert "--resume" not in spec_of(again)["argv"]
    assert [m.text for m in Message.objects.filter(session=session, role=Role.USER)] == [GO_ON]
    assert list(Attempt.objects.filter(runner=runner).values_list("session", flat=True)) == [first.pk, session.pk]
    assert Entry.objects.filter(type="session.created").count() == 2
    page = operator().get(f"/sessions/{session.pk}/").content.decode()
    assert f"<strong>Rebuilt from the transcript</strong>, because {lost.name}, which has" in page


def test_lost_again_it_is_told_all_of_it_and_before_it_has_answered_the_same_as_before() -> None:
    runner = ended()
    go_away(runner)
    second = make_node(programs=CLAUDE)
    again = restart_runner(runner.pk, actor="user:ada")
    told = spec_of(again)["stdin"]
    move(runner.pk, S.FAILED, generation=2, actor="system:test", reason="exit code 1")
    third = restart_runner(runner.pk, actor="user:ada")
    assert (third.session_id, third.node, spec_of(third)["stdin"]) == (again.session_id, second, told)
    answer(third, "I did the first half.", key="b")
    move(runner.pk, S.FAILED, generation=3, actor="system:test", reason="exit code 1")
    go_away(third)
    make_node(programs=CLAUDE)
    fourth = restart_runner(runner.pk, actor="user:ada")
    assert fourth.session is not None
    assert fourth.session.resumed_from_id == again.session_id
    told = spec_of(fourth)["stdin"]
    assert "I do." in told
    assert "I did the first half." in told
    assert told.endswith(GO_ON)


@pytest.mark.parametrize(
    ("facts", "because"),
    [
        ({"external_id": ""}, "Claude Code has not told its own id of the conversation"),
        ({"reason": "No conversation found with session ID: c-1"}, "Claude Code did not know it any more"),
    ],
)
def test_what_its_program_has_not_it_is_told_at_the_same_node_as_well(facts: dict[str, Any], because: str) -> None:
    again = restart_runner(ended(**facts).pk, actor="user:ada")
    assert again.session is not None
    assert (again.resumed, again.session.rebuilt_because) == (False, because)
    assert "I do." in spec_of(again)["stdin"]


def test_what_the_lost_attempt_used_meanwhile_counts_in_its_own_session() -> None:
    runner = ended()
    go_away(runner)
    make_node(programs=CLAUDE)
    again = restart_runner(runner.pk, actor="user:ada")
    usage = {"input_tokens": 5, "output_tokens": 7}
    line = {"type": "assistant", "message": {"id": "m-1", "model": "opus", "content": [], "usage": usage}}
    record = {"t": 9.0, "kind": "line", "stream": "stdout", "text": json.dumps(line)}
    ingest(Batch(runner.pk, 1, 0, 10, [record]))
    (entry,) = UsageEntry.objects.filter(runner=runner)
    assert (entry.session_id, entry.session_id != again.session_id) == (runner.session_id, True)


def test_a_program_that_cannot_resume_begins_anew() -> None:
    make_node()
    request = LaunchRequest(backend="command", argv=["cat"], prompt="do it")
    runner = launch_runner(make_project().name, request, actor="user:ada")
    Session.objects.filter(runners=runner).update(external_id="c-1")
    answer(runner)
    move(runner.pk, S.FAILED, generation=1, actor="system:test")
    again = restart_runner(runner.pk, actor="user:ada")
    assert (again.resumed, spec_of(again)["stdin"]) == (False, "do it\n")
