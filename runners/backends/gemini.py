"""Backend `gemini`: the Gemini CLI without a terminal, on pipes, one prompt a run."""

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.conf import settings

from runners.backends import gemini_stream
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

NAMES = FlagRule(lambda value: bool(re.fullmatch(r"[\w.-]+(,[\w.-]+)*", value)), "a name, or names with commas")


class GeminiBackend(Backend):
    """Runs `gemini` with a prompt on its input and reads its stream of JSON lines (`gemini_stream`).

    There is nobody to ask: tools that its approval mode does not allow are not offered to the model. In the default
    mode it can read and search, and change nothing.
    """

    name: ClassVar[str] = "gemini"
    label: ClassVar[str] = "Gemini CLI"
    program: ClassVar[str] = "gemini"
    provider: ClassVar[str] = "google"
    installed_in: ClassVar[tuple[str, ...]] = (".local/bin", ".npm-global/bin")
    headless: ClassVar[bool] = True
    prompt: ClassVar[str] = "required"
    resumes: ClassVar[bool] = True
    unknown_conversation: ClassVar[str] = "Error resuming session"
    # It ends the tools it runs, and writes its record of the conversation, before it ends.
    grace_seconds: ClassVar[int] = 20
    allowed_flags: ClassVar[Mapping[str, bool]] = {
        "--allowed-mcp-server-names": True,
        "--allowed-tools": True,
        "--approval-mode": True,
        "--extensions": True,
        "--sandbox": False,
    }
    flag_rules: ClassVar[Mapping[str, FlagRule]] = {
        "--allowed-mcp-server-names": NAMES,
        "--approval-mode": one_of("auto_edit", "default", "plan", "yolo"),
        "--extensions": NAMES,
    }
    passes_environment: ClassVar[tuple[str, ...]] = (
        "GEMINI_API_KEY",
        "GEMINI_CLI_HOME",
        "GEMINI_CLI_SYSTEM_SETTINGS_PATH",
        "GEMINI_MODEL",
        "GEMINI_SANDBOX",
        "GOOGLE_API_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_LOCATION",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_GENAI_USE_GCA",
        "GOOGLE_GENAI_USE_VERTEXAI",
        "GOOGLE_VERTEX_BASE_URL",
    )

    def check(self, request: LaunchRequest) -> None:
        super().check(request)
        check_model(request.model)

    def command(self, runner: Any, program: str) -> Command:
        argv = [program, "--output-format", "stream-json"]
        if settings.TRUST_WORKSPACES:
            # Whoever made the directory a project said so; without a terminal nobody can be asked.
            argv.append("--skip-trust")
        if not any(flag.partition("=")[0] == "--approval-mode" for flag in runner.flags):
            argv += ["--approval-mode", "default"]
        if runner.model:
            argv += ["--model", runner.model]
        conversation = _conversation(runner)
        home = directory_of(runner, "GEMINI_CLI_HOME", "")
        follow = Follow(
            # It names the file by the first eight characters of the id.
            pattern=f"{home}/.gemini/tmp/*/chats/session-*-{conversation[1][:8]}.jsonl",
            containing=('"tokens":',),
        )
        return Command(argv=[*argv, *conversation, *runner.flags], stdin=runner.prompt, follow=follow)

    def read(self, record: Mapping[str, Any], state: dict[str, Any]) -> Iterable[Fact]:
        return gemini_stream.read(record, state)


def _conversation(runner: Any) -> list[str]:
    """Return the flags that say which conversation this is.

    The program refuses to begin one under an id it has seen: all but the first attempt of a new one get their own.
    """
    _, known = conversation_of(runner)
    if known:
        return ["--resume", known]
    session = runner.session
    first = runner.generation == 1 and runner.conversation_mode == "new"
    return ["--session-id", str(session.pk if first else uuid.uuid5(session.pk, f"{runner.pk}:{runner.generation}"))]
