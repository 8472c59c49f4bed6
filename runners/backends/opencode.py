"""Backend `opencode`: the OpenCode CLI without a terminal, on pipes, one prompt a run."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from runners.backends import opencode_stream
from runners.backends.base import Backend, Command, Fact, FlagRule, LaunchRequest, check_model, conversation_of
from runners.exceptions import InvalidRequest
from runners.states import ConversationMode

WORD = FlagRule(lambda value: bool(re.fullmatch(r"\w[\w.-]*", value)), "a name")
TITLE_LENGTH = 80


class OpenCodeBackend(Backend):
    """Runs `opencode run --format json` and reads its stream of JSON lines (`opencode_stream`).

    It has no sandbox. What it may do its own configuration says (`OPENCODE_PERMISSION`, opencode.json); what that would
    ask somebody about is rejected, unless a launch says `--auto`.
    """

    name: ClassVar[str] = "opencode"
    label: ClassVar[str] = "OpenCode"
    program: ClassVar[str] = "opencode"
    provider: ClassVar[str] = "opencode"
    installed_in: ClassVar[tuple[str, ...]] = (".opencode/bin", ".local/bin")
    headless: ClassVar[bool] = True
    prompt: ClassVar[str] = "required"
    resumes: ClassVar[bool] = True
    unknown_conversation: ClassVar[str] = "Session not found"
    # It ends the tools it runs, and writes its record of the conversation, before it ends.
    grace_seconds: ClassVar[int] = 20
    forks: ClassVar[bool] = True
    allowed_flags: ClassVar[Mapping[str, bool]] = {
        "--agent": True,
        "--auto": False,
        "--pure": False,
        "--thinking": False,
        "--variant": True,
    }
    flag_rules: ClassVar[Mapping[str, FlagRule]] = {"--agent": WORD, "--variant": WORD}
    passes_environment: ClassVar[tuple[str, ...]] = (
        "ANTHROPIC_API_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "DEEPSEEK_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_GENERATIVE_AI_API_KEY",
        "GROQ_API_KEY",
        "MISTRAL_API_KEY",
        "OPENAI_API_KEY",
        "OPENCODE_API_KEY",
        "OPENCODE_CONFIG",
        "OPENCODE_CONFIG_CONTENT",
        "OPENCODE_CONFIG_DIR",
        "OPENCODE_DISABLE_MODELS_FETCH",
        "OPENCODE_PERMISSION",
        "OPENROUTER_API_KEY",
        "XAI_API_KEY",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
    )

    def check(self, request: LaunchRequest) -> None:
        super().check(request)
        check_model(request.model)
        if request.model and "/" not in request.model:
            raise InvalidRequest(f"OpenCode wants a model as provider/model, not {request.model!r}.", field="model")

    def command(self, runner: Any, program: str) -> Command:
        argv = [program, "run", "--format", "json", *_conversation(runner)]
        if runner.model:
            argv += ["--model", runner.model]
        # The prompt goes through its input, which has no limit of length, and cannot be taken for a flag.
        return Command(argv=[*argv, *runner.flags], env={"OPENCODE_DISABLE_AUTOUPDATE": "1"}, stdin=runner.prompt)

    def answer_of(self, message_key: str) -> str:
        return message_key.partition(":")[0]

    def read(self, record: Mapping[str, Any], state: dict[str, Any]) -> Iterable[Fact]:
        return opencode_stream.read(record, state)


def _conversation(runner: Any) -> list[str]:
    mode, known = conversation_of(runner)
    if not known:
        # Without a title it asks a model for one, and tells nobody what that cost.
        return [f"--title={_title(runner.prompt)}"]
    return ["--session", known, *(["--fork"] if mode == ConversationMode.FORK else [])]


def _title(prompt: str) -> str:
    return " ".join(prompt.split())[:TITLE_LENGTH]
