"""The real Claude Code CLI, launched by the API through every real process, with a fake model provider at its end."""

import os
import shutil
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from runners.backends import get_backend
from runners.backends.base import LaunchRequest
from runners.models import Message, Runner, Session
from runners.services import launch_runner
from stratavore_site.models import AccessToken
from tests.fake_models.answers import Answer, Hold, Refusal, ToolCall, Usage
from tests.fake_models.fixture import model_server
from tests.fake_models.server import ModelServer
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

__all__ = ["model_server"]

FIRST = Usage(input_tokens=120, output_tokens=34, cache_read_tokens=500, cache_write_tokens=60)
SECOND = Usage(input_tokens=40, output_tokens=12, cache_read_tokens=600)


@pytest.fixture
def claude_stack(
    make_stack: Callable[..., Stack], claude_code_path: str, model_server: ModelServer, tmp_path: Path
) -> Stack:
    """A whole Stratavore whose node has Claude Code, which knows no other provider than the fake one."""
    home = tmp_path / "home"
    home.mkdir()
    stack = make_stack(
        PATH=f"{Path(claude_code_path).parent}:{os.environ['PATH']}",
        HOME=str(home),
        ANTHROPIC_BASE_URL=model_server.url,
        ANTHROPIC_API_KEY="not-a-key",
        CLAUDE_CODE_MAX_RETRIES="0",
    )
    stack.start_runners()
    stack.start("web")
    return stack


def signed_in(stack: Stack) -> httpx.Client:
    user = User.objects.create_user("ada", is_superuser=True)
    _, token = AccessToken.objects.create(user=user, name="tests")
    return httpx.Client(base_url=f"{stack.url}/api/v1", headers={"Authorization": f"Token {token}"})


def launch(api: httpx.Client, project: str, prompt: str) -> Runner:
    answer = api.post(
        "/runners/",
        json={
            "project": project,
            "backend": "claude_code",
            "prompt": prompt,
            "model": "claude-sonnet-4-5",
            "flags": ["--allowedTools=Bash"],
        },
    )
    assert answer.status_code == 201, answer.text
    return Runner.objects.get(pk=answer.json()["id"])


@pytest.mark.claude
def test_a_launch_by_the_api_ends_with_messages_tokens_cost_and_a_changed_file(
    claude_stack: Stack, model_server: ModelServer
) -> None:
    model_server.script(
        Answer("I shall write the file.", ToolCall("Bash", {"command": "echo made by bash > made.txt"}), usage=FIRST),
        Answer("The file is written.", usage=SECOND),
    )
    project = make_project()
    with signed_in(claude_stack) as api:
        runner = launch(api, project.name, "Write made.txt")
        claude_stack.wait_for(runner, "terminated", "failed")
        told = api.get(f"/runners/{runner.pk}/").json()
        session = api.get(f"/sessions/{told['session_id']}/").json()
        messages = api.get(f"/sessions/{told['session_id']}/messages/").json()["results"]

    assert (told["status"], told["reason"], told["exit_code"]) == ("terminated", "exited", 0)
    assert (Path(project.path) / "made.txt").read_text() == "made by bash\n"
    assert [(message["role"], message["tool_name"]) for message in messages] == [
        ("user", ""),
        ("assistant", ""),
        ("assistant", "Bash"),
        ("tool", "Bash"),
        ("assistant", ""),
    ]
    assert messages[0]["text"] == "Write made.txt"
    assert messages[-1]["text"] == "The file is written."
    kept = Session.objects.get(pk=told["session_id"])
    reported = model_server.usage_total
    assert (kept.input_tokens, kept.output_tokens) == (reported.input_tokens, reported.output_tokens)
    assert (kept.cache_read_tokens, kept.cache_write_tokens) == (
        reported.cache_read_tokens,
        reported.cache_write_tokens,
    )
    assert kept.cost_source == "reported"
    assert kept.cost_usd is not None
    assert kept.cost_usd > Decimal(0)
    assert session["usage"]["cost_source"] == "reported"
    assert kept.external_id


@pytest.mark.claude
def test_a_refused_key_ends_the_runner_as_failed_with_what_the_program_said(
    claude_stack: Stack, model_server: ModelServer
) -> None:
    model_server.script(*[Refusal(status=401)] * 20)
    with signed_in(claude_stack) as api:
        runner = launch(api, make_project().name, "Hello")
        runner = claude_stack.wait_for(runner, "terminated", "failed")
    assert runner.status == "failed"
    assert runner.reason not in {"", "exit code 1"}


@pytest.mark.claude
def test_a_runner_that_was_killed_starts_again_by_its_policy_and_goes_on_in_its_session(
    claude_stack: Stack, model_server: ModelServer
) -> None:
    model_server.script(
        Answer("I shall write it.", ToolCall("Bash", {"command": "echo one > made.txt"}), usage=FIRST), Hold()
    )
    project = make_project()
    request = LaunchRequest(
        backend="claude_code",
        prompt="Write made.txt",
        model="claude-sonnet-4-5",
        flags=["--allowedTools=Bash"],
        restart_policy="on_failure",
    )
    runner = launch_runner(project.name, request, actor="user:ada")
    running = claude_stack.wait_for(runner, "running")
    model_server.wait_for_requests(2, timeout_seconds=90)
    wait_until(
        lambda: Message.objects.filter(runner=runner, tool_name="Bash", role="tool").exists(), "the tool was used"
    )
    model_server.script(Answer("Now it is written.", usage=SECOND))
    os.kill(running.pid or 0, signal.SIGKILL)

    def again() -> Runner | None:
        return Runner.objects.filter(pk=runner.pk, generation=2, status__in=["terminated", "failed"]).first()

    ended = wait_until(again, "the second attempt ended")
    assert (ended.status, ended.reason, ended.resumed) == ("terminated", "exited", True)
    assert ended.session_id == runner.session_id
    said = list(Message.objects.filter(session=runner.session_id, role__in=["user", "assistant"]).order_by("pk"))
    go_on = get_backend("claude_code").resumed_prompt
    assert [m.text for m in said if m.text] == ["Write made.txt", "I shall write it.", go_on, "Now it is written."]
    # The model saw the whole conversation, so it was no new one.
    last = model_server.requests[-1].text
    assert all(text in last for text in ("Write made.txt", "I shall write it.", go_on))
    kept = Session.objects.get(runners=runner)
    assert (kept.input_tokens, kept.output_tokens) == (
        model_server.usage_total.input_tokens,
        model_server.usage_total.output_tokens,
    )


@pytest.mark.claude
def test_a_session_is_resumed_forked_within_and_rebuilt_when_its_conversation_is_gone(
    claude_stack: Stack, model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script(
        Answer("I look.", ToolCall("Bash", {"command": "echo an oak"}), usage=FIRST),
        Answer("There is an oak.", usage=SECOND),
        Answer("There is a birch, too.", usage=SECOND),
        Answer("A fork of the oak.", usage=FIRST),
        Answer("Told of both.", usage=FIRST),
    )

    def go_on(session: str, verb: str, **said: Any) -> Runner:
        answer = api.post(f"/sessions/{session}/{verb}/", json=said)
        assert answer.status_code == 201, answer.text
        runner = Runner.objects.get(pk=answer.json()["id"])
        claude_stack.wait_for(runner, "terminated")
        return Runner.objects.select_related("session").get(pk=runner.pk)

    with signed_in(claude_stack) as api:
        first = claude_stack.wait_for(launch(api, make_project().name, "Look around"), "terminated", "failed")
        session = str(first.session_id)
        assert str(go_on(session, "resume", prompt="What else?").session_id) == session
        assert "There is an oak." in model_server.requests[-1].text

        at = Message.objects.get(text="There is an oak.")
        fork: Any = go_on(session, "fork", prompt="Else?", at_message=at.pk)
        assert (fork.session.began, fork.session.forked_at_id) == ("forked", at.pk)
        asked = model_server.requests[-1].text
        assert ("There is an oak." in asked, "a birch, too" in asked, "Else?" in asked) == (True, False, True)
        assert fork.session.total_tokens == FIRST.prompt_tokens + FIRST.output_tokens, "it pays for itself alone"

        shutil.rmtree(tmp_path / "home" / ".claude" / "projects")
        again: Any = go_on(session, "resume", prompt="Which trees?")

    assert (again.generation, again.session.began) == (2, "rebuilt")
    assert again.session.rebuilt_because == "Claude Code did not know it any more"
    asked = model_server.requests[-1].text
    assert ("There is an oak." in asked, "a birch, too" in asked, "Which trees?" in asked) == (True, True, True)
    assert Message.objects.filter(session=again.session).latest("id").text == "Told of both."
