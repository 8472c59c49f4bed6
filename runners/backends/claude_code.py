"""Backend `claude_code`: the Claude Code CLI without a terminal, on pipes, one prompt a run."""

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from runners.backends import claude_stream
from runners.backends.base import (
    Backend,
    Command,
    Fact,
    FlagRule,
    LaunchRequest,
    check_model,
    conversation_of,
    number,
    one_of,
)
from runners.states import ApprovalMode, ConversationMode

#: It neither phones home nor replaces itself.
QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}


class ClaudeCodeBackend(Backend):
    """Runs `claude -p` and reads its stream of JSON lines (`claude_stream`).

    The prompt goes through its input, which has no limit of length, and cannot be taken for a flag.
    """

    name: ClassVar[str] = "claude_code"
    label: ClassVar[str] = "Claude Code"
    program: ClassVar[str] = "claude"
    provider: ClassVar[str] = "anthropic"
    installed_in: ClassVar[tuple[str, ...]] = (".local/bin",)
    resumes: ClassVar[bool] = True
    forks: ClassVar[bool] = True
    forks_within: ClassVar[bool] = True
    unknown_conversation: ClassVar[str] = "No conversation found"
    # It ends the tools it runs, and writes its record of the conversation, before it ends.
    grace_seconds: ClassVar[int] = 20
    asks: ClassVar[bool] = True
    unknown_place: ClassVar[str] = "No message found with message.uuid"
    headless: ClassVar[bool] = True
    prompt: ClassVar[str] = "required"
    allowed_flags: ClassVar[Mapping[str, bool]] = {
        "--agent": True,
        "--allowed-tools": True,
        "--allowedTools": True,
        "--append-system-prompt": True,
        "--disable-slash-commands": False,
        "--disallowed-tools": True,
        "--disallowedTools": True,
        "--effort": True,
        "--fallback-model": True,
        "--max-budget-usd": True,
        "--max-turns": True,
        "--permission-mode": True,
        "--restricted": False,
        "--safe-mode": False,
        "--setting-sources": True,
        "--strict-mcp-config": False,
        "--tools": True,
    }
    flag_rules: ClassVar[Mapping[str, FlagRule]] = {
        "--effort": one_of("low", "medium", "high", "xhigh", "max"),
        "--max-budget-usd": number(float, 0.0001, 1_000_000),
        "--max-turns": number(int, 1, 1_000_000),
        "--permission-mode": one_of("acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "manual", "plan"),
    }
    passes_environment: ClassVar[tuple[str, ...]] = (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_CUSTOM_HEADERS",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL",
        "ANTHROPIC_DEFAULT_OPUS_MODEL",
        "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_MODEL",
        "ANTHROPIC_VERTEX_PROJECT_ID",
        "API_TIMEOUT_MS",
        "AWS_ACCESS_KEY_ID",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "BASH_DEFAULT_TIMEOUT_MS",
        "BASH_MAX_TIMEOUT_MS",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
        "CLAUDE_CODE_MAX_RETRIES",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_FOUNDRY",
        "CLAUDE_CODE_USE_VERTEX",
        "CLAUDE_CONFIG_DIR",
        "CLOUD_ML_REGION",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "IS_SANDBOX",
    )

    def check(self, request: LaunchRequest) -> None:
        super().check(request)
        check_model(request.model)

    def command(self, runner: Any, program: str) -> Command:
        argv = [program, "-p", "--output-format", "stream-json", "--verbose"]
        # Without partial messages an answer's tokens are told only at the end of the run: a killed run would lose them.
        argv += ["--include-partial-messages", *conversation_flags(runner)]
        if runner.model:
            argv += ["--model", runner.model]
        if runner.approvals == ApprovalMode.ASK:
            # Its input stays open for the answers; after its result it would wait for another prompt.
            argv += ["--input-format", "stream-json", "--permission-prompt-tool", "stdio", *runner.flags]
            return Command(argv=argv, env=QUIET, stdin=prompt_line(runner.prompt), input_until={"type": "result"})
        return Command(argv=[*argv, *runner.flags], env=QUIET, stdin=runner.prompt)

    def answer(self, request_id: str, *, allow: bool, message: str) -> str:
        # Without `updatedInput` the program takes its own: what it asked for is what it does.
        behavior = {"behavior": "allow"} if allow else {"behavior": "deny", "message": message}
        response = {"subtype": "success", "request_id": request_id, "response": behavior}
        return json.dumps({"type": "control_response", "response": response}) + "\n"

    def answer_of(self, message_key: str) -> str:
        return message_key.partition(":")[0]

    def read(self, record: Mapping[str, Any], state: dict[str, Any]) -> Iterable[Fact]:
        return claude_stream.read(record, state)


def prompt_line(prompt: str) -> str:
    """Return a prompt as `--input-format stream-json` takes it."""
    message = {"role": "user", "content": prompt}
    return json.dumps({"type": "user", "message": message, "parent_tool_use_id": None}) + "\n"


def conversation_flags(runner: Any) -> list[str]:
    """Return the flags that say which conversation this is.

    The program refuses to begin one under an id it has seen, so each later attempt of a new one gets an id of its own.
    """
    session, (mode, known) = runner.session, conversation_of(runner)
    if mode == ConversationMode.RESUME:
        return ["--resume", known or str(session.pk)]
    first = runner.generation == 1
    own = session.pk if first else uuid.uuid5(session.pk, f"{runner.pk}:{runner.generation}")
    copied = ["--resume", known, "--fork-session"] if mode == ConversationMode.FORK else []
    place = ["--resume-session-at", runner.fork_anchor] if copied and runner.fork_anchor else []
    return [*copied, *place, "--session-id", str(own)]
