"""The real Claude Code CLI on a terminal, launched by the API, its conversation read along by every real process."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from django.contrib.auth.models import User

from runners.models import Message, Observation, Project, Runner, Session
from runners.runtimes import get_runtime
from stratavore_site.models import AccessToken
from tests.fake_models.answers import Answer, ToolCall, Usage
from tests.fake_models.fixture import model_server
from tests.fake_models.server import ModelServer
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

__all__ = ["model_server"]

KEY = "sk-ant-api03-not-a-key-0123456789"


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def stack(
    make_stack: Callable[..., Stack], claude_code_path: str, model_server: ModelServer, tmp_path: Path, project: Project
) -> Stack:
    """A whole Stratavore whose node has Claude Code, which was asked its first questions before."""
    home = tmp_path / "home"
    home.mkdir()
    answered = {
        "hasCompletedOnboarding": True,
        "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
        "projects": {project.path: {"hasTrustDialogAccepted": True}},
    }
    (home / ".claude.json").write_text(json.dumps(answered))
    stack = make_stack(
        PATH=f"{Path(claude_code_path).parent}:{os.environ['PATH']}",
        HOME=str(home),
        ANTHROPIC_BASE_URL=model_server.url,
        ANTHROPIC_API_KEY=KEY,
    )
    stack.start_runners()
    stack.start("web")
    return stack


@pytest.mark.claude
def test_what_is_said_on_a_terminal_is_in_the_session_with_its_tokens_and_cost(
    stack: Stack, project: Project, model_server: ModelServer
) -> None:
    first, second = Usage(input_tokens=120, output_tokens=34, cache_read_tokens=500), Usage(output_tokens=9)
    model_server.script(
        Answer("I shall.", ToolCall("Bash", {"command": "echo x > made.txt", "description": "Do it"}), usage=first),
        Answer("It is made.", usage=Usage(input_tokens=7, output_tokens=3)),
        Answer("You are welcome.", usage=second),
    )
    user = User.objects.create_user("ada", is_superuser=True)
    _, token = AccessToken.objects.create(user=user, name="tests")
    body = {
        "project": project.name,
        "backend": "claude_terminal",
        "prompt": "--make a file",
        "model": "claude-sonnet-4-5",
        "flags": ["--allowedTools=Bash"],
    }
    headers = {"Authorization": f"Token {token}"}
    with httpx.Client(base_url=f"{stack.url}/api/v1", headers=headers, timeout=30) as api:
        launched = api.post("/runners/", json=body)
        assert launched.status_code == 201, launched.text
        runner = Runner.objects.get(pk=launched.json()["id"])
        wait_until(lambda: said(runner, "It is made."), "its answer is in the session")
        assert (Path(project.path) / "made.txt").read_text() == "x\n"
        wait_until(lambda: Observation.objects.get(runner=runner).activity == "idle", "it waits for a prompt")

        get_runtime("process").input(stack.run_directory(runner), "thank you")
        get_runtime("process").input(stack.run_directory(runner), "\r")
        wait_until(lambda: said(runner, "You are welcome."), "it is answered what was typed")
        assert said(runner, "thank you")
        api.post(f"/runners/{runner.pk}/stop/")
        runner = stack.wait_for(runner, "terminated", "failed")

    assert runner.status == "terminated"
    session = Session.objects.get(runners=runner)
    assert session.external_id == str(session.pk)
    spoken = Message.objects.filter(session=session).values_list("role", "tool_name")
    assert list(spoken) == [
        ("user", ""),
        ("assistant", ""),
        ("assistant", "Bash"),
        ("tool", "Bash"),
        ("assistant", ""),
        ("user", ""),
        ("assistant", ""),
    ]
    total = model_server.usage_total
    assert (session.input_tokens, session.output_tokens) == (total.input_tokens, total.output_tokens)
    assert session.cache_read_tokens == total.cache_read_tokens
    assert session.cost_source == "reported"
    assert (session.cost_usd or 0) > 0


def said(runner: Runner, text: str) -> bool:
    return Message.objects.filter(runner=runner, text=text).exists()
