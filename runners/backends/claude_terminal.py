"""Backend `claude_terminal`: the Claude Code CLI on a terminal, to talk to, its conversation read along."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from runners.backends import claude_transcript
from runners.backends.base import Command, Fact, Follow, LaunchRequest, directory_of
from runners.backends.claude_code import QUIET, ClaudeCodeBackend, conversation_flags
from runners.exceptions import InvalidRequest

#: Linux takes 128 KB an argument (MAX_ARG_STRLEN, execve(2)); a character may have 4 bytes.
LONGEST_PROMPT_BYTES = 120_000
#: Flags that count only without a terminal.
HEADLESS_ONLY = frozenset({"--fallback-model", "--max-budget-usd", "--max-turns"})


class ClaudeTerminalBackend(ClaudeCodeBackend):
    """Runs `claude` as people do. It keeps its conversation as JSON lines, which are followed (`claude_transcript`).

    It asks before it acts, unless a flag says else: whoever has its terminal open answers.
    """

    name: ClassVar[str] = "claude_terminal"
    label: ClassVar[str] = "Claude Code on a terminal"
    asks: ClassVar[bool] = False
    headless: ClassVar[bool] = False
    prompt: ClassVar[str] = "optional"
    longest_prompt_bytes: ClassVar[int] = LONGEST_PROMPT_BYTES
    forks_within: ClassVar[bool] = False  # without a terminal only
    allowed_flags: ClassVar[Mapping[str, bool]] = {
        flag: takes_value for flag, takes_value in ClaudeCodeBackend.allowed_flags.items() if flag not in HEADLESS_ONLY
    }

    def check(self, request: LaunchRequest) -> None:
        super().check(request)
        if len(request.prompt.encode("utf-8", "replace")) > LONGEST_PROMPT_BYTES:
            raise InvalidRequest(
                f"The first prompt of a terminal may have {LONGEST_PROMPT_BYTES} bytes; paste a longer one.",
                field="prompt",
            )

    def command(self, runner: Any, program: str) -> Command:
        argv = [program, *conversation_flags(runner)]
        if runner.model:
            argv += ["--model", runner.model]
        if not any(flag.partition("=")[0] == "--permission-mode" for flag in runner.flags):
            argv += ["--permission-mode", "default"]
        # After the two dashes nothing is taken for a flag.
        prompt = ["--", runner.prompt] if runner.prompt.strip() else []
        home = directory_of(runner, "CLAUDE_CONFIG_DIR", ".claude")
        conversation = argv[argv.index("--session-id" if "--session-id" in argv else "--resume") + 1]
        follow = Follow(
            pattern=f"{home}/projects/*/{conversation}.jsonl",
            containing=('"type":"assistant"', '"type":"user"', '"type":"cost-state"'),
        )
        return Command(argv=[*argv, *runner.flags, *prompt], env=QUIET, tty=True, follow=follow)

    def read(self, record: Mapping[str, Any], state: dict[str, Any]) -> Iterable[Fact]:
        return claude_transcript.read(record, state)
