"""Backend `codex`: the Codex CLI without a terminal, on pipes, one prompt a run."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from runners.backends import codex_stream
from runners.backends.base import (
    Backend,
    Command,
    Fact,
    FlagRule,
    Follow,
    LaunchRequest,
    check_model,
    conversation_of,
    directory_of,
    one_of,
)
from runners.states import ConversationMode

#: Settings that change how it thinks and speaks, and cannot run a program or widen what it may do.
HARMLESS_SETTING = re.compile(r"(model_reasoning_effort|model_reasoning_summary|model_verbosity|web_search)=[\"\w-]+")


class CodexBackend(Backend):
    """Runs `codex exec --json` and reads its stream of JSON lines (`codex_stream`).

    It asks nobody for permission: what its sandbox forbids fails. The sandbox is the workspace unless a flag says else.
    """

    name: ClassVar[str] = "codex"
    label: ClassVar[str] = "Codex"
    program: ClassVar[str] = "codex"
    provider: ClassVar[str] = "openai"
    installed_in: ClassVar[tuple[str, ...]] = (".local/bin",)
    headless: ClassVar[bool] = True
    prompt: ClassVar[str] = "required"
    resumes: ClassVar[bool] = True
    unknown_conversation: ClassVar[str] = "no rollout found"
    # It ends the tools it runs, and writes its record of the conversation, before it ends.
    grace_seconds: ClassVar[int] = 20
    forks: ClassVar[bool] = True
    allowed_flags: ClassVar[Mapping[str, bool]] = {
        "--config": True,
        "--ignore-rules": False,
        "--ignore-user-config": False,
        "--local-provider": True,
        "--oss": False,
        "--profile": True,
        "--sandbox": True,
    }
    flag_rules: ClassVar[Mapping[str, FlagRule]] = {
        "--config": FlagRule(
            lambda value: bool(HARMLESS_SETTING.fullmatch(value)),
            "one of model_reasoning_effort=, model_reasoning_summary=, model_verbosity=, web_search= with a word",
        ),
        "--local-provider": one_of("lmstudio", "ollama"),
        "--profile": FlagRule(lambda value: bool(re.fullmatch(r"\w[\w-]*", value)), "the name of a profile"),
        "--sandbox": one_of("read-only", "workspace-write", "danger-full-access"),
    }
    passes_environment: ClassVar[tuple[str, ...]] = (
        "CODEX_ACCESS_TOKEN",
        "CODEX_API_KEY",
        "CODEX_CA_CERTIFICATE",
        "CODEX_HOME",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
    )

    def check(self, request: LaunchRequest) -> None:
        super().check(request)
        check_model(request.model)

    def command(self, runner: Any, program: str) -> Command:
        # There is nobody to ask: what needs an approval fails at once instead of waiting for one.
        argv = [program, "exec", "--json", "--skip-git-repo-check", "--config", 'approval_policy="never"']
        if not any(flag.partition("=")[0] == "--sandbox" for flag in runner.flags):
            argv += ["--sandbox", "workspace-write"]
        # The program itself does not look at this variable.
        base_url = runner.environment.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_BASE_URL")
        if base_url:
            argv += ["--config", f"openai_base_url={json.dumps(base_url)}"]
        if runner.model:
            argv += ["--model", runner.model]
        # "-": the prompt comes through its input.
        return Command(
            argv=[*argv, *runner.flags, *_conversation(runner), "-"], stdin=runner.prompt, follow=_record_of(runner)
        )

    def read(self, record: Mapping[str, Any], state: dict[str, Any]) -> Iterable[Fact]:
        return codex_stream.read(record, state)


def _record_of(runner: Any) -> Follow:
    """Return its own record of the conversation, in which each answer's tokens stand as soon as it is over."""
    mode, thread = conversation_of(runner)
    known = thread if mode == ConversationMode.RESUME else ""
    home = directory_of(runner, "CODEX_HOME", ".codex")
    return Follow(
        pattern=f"{home}/sessions/*/*/*/rollout-*-{known or '{conversation}'}.jsonl",
        announced_by='"thread_id":"',
        containing=('"type":"token_usage_record"', '"type":"turn_context"'),
    )


def _conversation(runner: Any) -> list[str]:
    mode, thread = conversation_of(runner)
    # A run that ended before its conversation had an id cannot be resumed: it begins anew.
    return [str(mode), thread] if thread else []
