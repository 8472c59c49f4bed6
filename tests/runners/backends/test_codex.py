"""What the codex backend accepts, and the command line it builds."""

import uuid
from typing import Any

import pytest

from runners.backends.base import LaunchRequest
from runners.backends.codex import CodexBackend
from runners.exceptions import InvalidRequest
from runners.models import Runner, Session
from runners.states import ConversationMode

BACKEND = CodexBackend()


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("prompt", {"prompt": "  \n"}),
        ("model", {"model": "--dangerously-bypass-approvals-and-sandbox"}),
        ("flags", {"flags": ["--dangerously-bypass-approvals-and-sandbox"]}),
        ("flags", {"flags": ["--sandbox", "none"]}),
        ("flags", {"flags": ["--sandbox"]}),
        ("flags", {"flags": ["--config", "mcp_servers.x.command=sh"]}),
        ("flags", {"flags": ['--config=sandbox_mode="danger-full-access"']}),
        ("flags", {"flags": ["--config=model_reasoning_effort=high\nsandbox_mode=x"]}),
        ("flags", {"flags": ["--profile", "../x"]}),
        ("flags", {"flags": ["-c", "model_verbosity=low"]}),
        ("flags", {"flags": ["--add-dir", "/"]}),
    ],
)
def test_what_it_cannot_or_must_not_run_is_refused(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        BACKEND.check(LaunchRequest(backend="codex", **{"prompt": "Do it.", **fields}))
    assert refusal.value.facts["field"] == field


def command(session: Session | None = None, **fields: Any) -> list[str]:
    built = BACKEND.command(Runner(session=session or Session(), prompt="--help", **fields), "/bin/codex")
    assert built.stdin == "--help"
    assert "--help" not in built.argv
    assert built.argv[-1] == "-"
    return built.argv


def test_it_may_write_in_its_workspace_alone_unless_a_flag_says_else(monkeypatch: pytest.MonkeyPatch) -> None:
    argv = command()
    assert argv[argv.index("--sandbox") + 1] == "workspace-write"
    assert 'approval_policy="never"' in argv
    for flags in (["--sandbox", "read-only"], ["--sandbox=read-only"]):
        argv = command(flags=flags)
        assert "workspace-write" not in argv
        assert argv[-1 - len(flags) : -1] == flags


def test_another_base_address_is_passed_on_and_that_of_the_launch_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://node/v1")
    assert 'openai_base_url="http://node/v1"' in command()
    assert 'openai_base_url="http://launch/v1"' in command(environment={"OPENAI_BASE_URL": "http://launch/v1"})
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert not any("openai_base_url" in word for word in command())


def test_a_conversation_begins_goes_on_or_is_copied() -> None:
    known = Session(id=uuid.uuid4(), external_id="thread-1")
    assert not {"resume", "fork"} & {*command()}
    assert command(known, conversation_mode=ConversationMode.RESUME)[-3:] == ["resume", "thread-1", "-"]
    copy = Session(resumed_from=known)
    assert command(copy, conversation_mode=ConversationMode.FORK)[-3:] == ["fork", "thread-1", "-"]


def test_a_later_attempt_of_a_fork_goes_on_with_the_copy() -> None:
    copy = Session(external_id="thread-2", resumed_from=Session(external_id="thread-1"))
    argv = command(copy, conversation_mode=ConversationMode.FORK, generation=2)
    assert argv[-3:] == ["resume", "thread-2", "-"]


def test_a_conversation_whose_id_was_never_told_begins_anew() -> None:
    assert "resume" not in command(conversation_mode=ConversationMode.RESUME)
