"""A restart goes on in the session where the program can, and begins anew where it cannot."""

from typing import Any

import pytest
from django.utils import timezone

from outbox.models import Entry
from runners.backends import get_backend
from runners.backends.base import LaunchRequest
from runners.models import Attempt, Message, Runner, Session
from runners.services import launch_runner, restart_runner
from runners.services.start import specification
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


def answer(runner: Runner) -> None:
    assert runner.session is not None
    Message.objects.create(
        session=runner.session, runner=runner, key="a", role=Role.ASSISTANT, text="I do.", at=timezone.now()
    )


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
        {"says": False},
        {"reason": "No conversation found with session ID: c-1"},
    ],
)
def test_without_a_conversation_to_go_on_with_it_begins_anew(facts: dict[str, Any]) -> None:
    runner = ended(**facts)
    again = restart_runner(runner.pk, actor="user:ada")
    spec = spec_of(again)
    assert (again.resumed, spec["stdin"]) == (False, "Mend the tests.")
    assert "--resume" not in spec["argv"]


def test_it_goes_back_to_the_node_that_has_the_conversation_however_full() -> None:
    runner = ended()
    make_node(programs=CLAUDE, slots=99)
    again = restart_runner(runner.pk, actor="user:ada")
    assert (again.node, again.resumed) == (runner.node, True)


def test_elsewhere_it_begins_anew_for_the_conversation_is_not_there() -> None:
    runner = ended()
    assert runner.node is not None
    runner.node.status = NodeStatus.OFFLINE
    runner.node.save()
    other = make_node(programs=CLAUDE)
    again = restart_runner(runner.pk, actor="user:ada")
    assert (again.node, again.resumed, spec_of(again)["stdin"]) == (other, False, "Mend the tests.")


def test_a_program_that_cannot_resume_begins_anew() -> None:
    make_node()
    request = LaunchRequest(backend="command", argv=["cat"], prompt="do it")
    runner = launch_runner(make_project().name, request, actor="user:ada")
    Session.objects.filter(runners=runner).update(external_id="c-1")
    answer(runner)
    move(runner.pk, S.FAILED, generation=1, actor="system:test")
    again = restart_runner(runner.pk, actor="user:ada")
    assert (again.resumed, spec_of(again)["stdin"]) == (False, "do it\n")
