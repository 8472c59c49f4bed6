"""Each real agent program, launched by the API through every real process, with a fake model provider at its end."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from runners.models import Message, Runner, Session
from stratavore_site.models import AccessToken
from tests.fake_models.answers import Answer, Refusal, ToolCall, Usage
from tests.fake_models.fixture import model_server
from tests.fake_models.server import ModelServer
from tests.runners.backends.test_opencode_program import provider
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

__all__ = ["model_server"]

FIRST = Usage(input_tokens=120, output_tokens=34, cache_read_tokens=500)
SECOND = Usage(input_tokens=40, output_tokens=12, cache_read_tokens=600)
THIRD = Usage(input_tokens=70, output_tokens=5, cache_read_tokens=10)


@dataclass(frozen=True)
class Program:
    """What is needed to run one program, and what differs between them."""

    backend: str
    model: str
    #: Of an address of the fake provider: the environment of the node.
    environment: Callable[[str], Mapping[str, str]]
    bash: Callable[[str], ToolCall]
    #: The name of its tool as messages tell it.
    tool: str
    flags: list[str] = field(default_factory=list)
    #: Where in its home it keeps its conversations.
    keeps: str = ""
    #: Files that its home must have.
    home: Mapping[str, Any] = field(default_factory=dict)
    tells_cost: bool = False

    def __str__(self) -> str:
        return self.backend


CODEX = Program(
    backend="codex",
    model="gpt-6.1-sol",
    environment=lambda url: {"OPENAI_BASE_URL": f"{url}/v1", "CODEX_API_KEY": "not-a-key"},
    bash=lambda command: ToolCall("exec_command", {"cmd": command}),
    tool="shell",
    keeps=".codex/sessions",
)

GEMINI = Program(
    backend="gemini",
    model="gemini-2.5-flash",
    environment=lambda url: {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "not-a-key"},
    bash=lambda command: ToolCall("run_shell_command", {"command": command}),
    tool="run_shell_command",
    flags=["--approval-mode=yolo"],
    keeps=".gemini/tmp",
    home={".gemini/settings.json": {"security": {"auth": {"selectedType": "gemini-api-key"}}}},
)
OPENCODE = Program(
    backend="opencode",
    model="fake/fake-1",
    environment=lambda url: {"OPENCODE_CONFIG_CONTENT": provider(url), "OPENCODE_DISABLE_MODELS_FETCH": "1"},
    bash=lambda command: ToolCall("bash", {"command": command, "description": "Do it"}),
    tool="bash",
    keeps=".local/share/opencode",
    tells_cost=True,
)


@pytest.fixture(
    params=[
        pytest.param(CODEX, marks=pytest.mark.codex),
        pytest.param(GEMINI, marks=pytest.mark.gemini),
        pytest.param(OPENCODE, marks=pytest.mark.opencode),
    ],
    ids=str,
)
def program(request: pytest.FixtureRequest) -> Program:
    chosen: Program = request.param
    return chosen


@pytest.fixture
def stack(
    request: pytest.FixtureRequest,
    program: Program,
    make_stack: Callable[..., Stack],
    model_server: ModelServer,
    tmp_path: Path,
) -> Stack:
    """A whole Stratavore whose node has the program, which knows no other provider than the fake one."""
    path = Path(request.getfixturevalue(f"{program.backend}_path"))
    home = tmp_path / "home"
    home.mkdir()
    for name, content in program.home.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(json.dumps(content))
    stack = make_stack(
        PATH=f"{path.parent}:{os.environ['PATH']}", HOME=str(home), **program.environment(model_server.url)
    )
    stack.start_runners()
    stack.start("web")
    return stack


def signed_in(stack: Stack) -> httpx.Client:
    user = User.objects.create_user("ada", is_superuser=True)
    _, token = AccessToken.objects.create(user=user, name="tests")
    return httpx.Client(base_url=f"{stack.url}/api/v1", headers={"Authorization": f"Token {token}"}, timeout=30)


def launch(api: httpx.Client, program: Program, project: str, prompt: str, **more: str) -> Runner:
    body = {"project": project, "backend": program.backend, "prompt": prompt, "model": program.model, **more}
    answer = api.post("/runners/", json={**body, "flags": program.flags})
    assert answer.status_code == 201, answer.text
    return Runner.objects.get(pk=answer.json()["id"])


def figures(session: Session) -> Usage:
    return Usage(
        input_tokens=session.input_tokens,
        output_tokens=session.output_tokens,
        cache_read_tokens=session.cache_read_tokens,
    )


def test_a_launch_and_its_resumption_become_messages_tokens_and_a_changed_file(
    stack: Stack, program: Program, model_server: ModelServer
) -> None:
    model_server.script(
        Answer("I shall write the file.", program.bash("echo made by bash > made.txt"), usage=FIRST),
        Answer("The file is written.", usage=SECOND),
        Answer("It was made.txt.", usage=THIRD),
    )
    project = make_project()
    with signed_in(stack) as api:
        runner = stack.wait_for(launch(api, program, project.name, "Write made.txt"), "terminated", "failed")
        assert (runner.status, runner.reason) == ("terminated", "exited")
        assert (Path(project.path) / "made.txt").read_text() == "made by bash\n"
        session = Session.objects.get(runners=runner)
        assert session.external_id
        assert figures(session) == FIRST + SECOND
        assert [(message.role, message.tool_name) for message in Message.objects.filter(session=session)] == [
            ("user", ""),
            ("assistant", ""),
            ("assistant", program.tool),
            ("tool", program.tool),
            ("assistant", ""),
        ]

        more = {"conversation_mode": "resume", "session_id": str(session.pk)}
        runner = stack.wait_for(launch(api, program, project.name, "Which file?", **more), "terminated", "failed")
        told = api.get(f"/runners/{runner.pk}/").json()

    assert (runner.status, runner.reason) == ("terminated", "exited")
    assert "Write made.txt" in model_server.requests[-1].text
    session.refresh_from_db()
    assert figures(session) == FIRST + SECOND + THIRD
    assert Message.objects.filter(session=session).latest("id").text == "It was made.txt."
    assert told["observation"]["activity"] == "", "it has ended"
    if program.tells_cost:
        assert session.cost_source == "reported"
        assert (session.cost_usd or 0) > Decimal(0)
    else:
        assert session.cost_source != "reported"
        assert session.cost_usd != 0, "not known is not nothing"


def test_a_refused_key_ends_the_runner_as_failed_with_what_the_program_said(
    stack: Stack, program: Program, model_server: ModelServer
) -> None:
    model_server.otherwise = Refusal(status=401, message="This key is not known here.")
    with signed_in(stack) as api:
        runner = launch(api, program, make_project().name, "Hello")
        runner = stack.wait_for(runner, "terminated", "failed")
    assert runner.status == "failed"
    assert "This key is not known here." in runner.reason


def test_a_conversation_that_the_program_has_lost_is_told_to_it_and_the_session_says_so(
    stack: Stack, program: Program, model_server: ModelServer, tmp_path: Path
) -> None:
    model_server.script(Answer("I planted an oak."), Answer("It was an oak."))
    with signed_in(stack) as api:
        first = stack.wait_for(launch(api, program, make_project().name, "Plant a tree."), "terminated", "failed")
        shutil.rmtree(tmp_path / "home" / program.keeps)
        answer = api.post(f"/sessions/{first.session_id}/resume/", json={"prompt": "Which tree?"})
        assert answer.status_code == 201, answer.text
        again = answer.json()["id"]
        runner = wait_until(
            lambda: Runner.objects.filter(pk=again, generation=2, status__in=["terminated", "failed"]).first(),
            "it has started again with what was said",
        )
        told = api.get(f"/sessions/{runner.session_id}/").json()

    assert (runner.status, runner.reason) == ("terminated", "exited")
    assert (told["began"], told["resumed_from"]) == ("rebuilt", str(first.session_id))
    assert told["rebuilt_because"].endswith("did not know it any more")
    assert told["external_id"], "the program has a conversation of its own again"
    sent = model_server.requests[-1].text
    assert "I planted an oak." in sent
    assert "Which tree?" in sent
    said = Message.objects.filter(session=runner.session_id).exclude(role="system").order_by("id")
    assert list(said.values_list("text", flat=True)) == ["Which tree?", "It was an oak."]
