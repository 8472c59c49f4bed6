"""What a backend is: the adapter of one agent program.

It checks a launch, builds the command line, and reads the program's own output as facts: messages, usage, session id.
A backend keeps nothing in memory: what parsing must remember goes through `state`, a JSON object that is stored in the
same transaction as the rows, so that a node agent that dies between two lines goes on exactly where the rows end.
"""

import glob
import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from runners.exceptions import InvalidRequest
from runners.states import Activity, ApprovalMode, ConversationMode, OnLimit, RestartPolicy, Role

#: A program tells its version in milliseconds to seconds; a broken installation may hang.
VERSION_TIMEOUT_SECONDS = 10
VERSION = re.compile(r"\d+\.\d[\w.+-]*")
#: claude-opus-5-5, opus, us.anthropic.claude-...-v1:0, arn:aws:bedrock:..., claude-sonnet-5[1m], provider/model:free
MODEL = re.compile(r"[A-Za-z0-9][\w.:/@+-]*(\[\w+\])?")


@dataclass(frozen=True, kw_only=True)
class LaunchRequest:
    """What a caller wants run; the fields are those of Runner."""

    backend: str
    argv: list[str] = field(default_factory=list)
    prompt: str = ""
    #: Of the session; empty: the first line of the prompt, or the command.
    title: str = ""
    model: str = ""
    flags: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    workspace: str = ""
    #: none or worktree; empty: as the project says. So for what becomes of the worktree: keep, merge or remove.
    isolation: str = ""
    worktree_end: str = ""
    conversation_mode: str = ConversationMode.NEW
    #: The session to go on with, when `conversation_mode` is not new.
    session_id: str = ""
    #: The last message of it to go on from: what follows it stays in that session. None: all of it.
    at_message: int | None = None
    #: None: the backend's.
    grace_seconds: int | None = None
    name: str = ""
    #: The node must have all of these.
    labels: list[str] = field(default_factory=list)
    #: Where it runs: process, or container with the fields below.
    runtime: str = "process"
    image: str = ""
    #: Empty: none.
    network: str = ""
    #: uid or uid:gid; empty: the owner of the workspace.
    container_user: str = ""
    #: What its processes may use at most, by the names of services/limits.py; the project's hold in any case.
    limits: dict[str, int] = field(default_factory=dict)
    #: refuse: a full quota or fleet refuses the launch; wait: the runner is queued.
    on_limit: str = OnLimit.REFUSE
    priority: int = 0
    restart_policy: str = RestartPolicy.NEVER
    #: Restarts within the restart window, after which the runner stays ended.
    max_restarts: int = 3
    #: For whom it works: budgets and the usage page tell agents and personalities apart by these names.
    agent_name: str = ""
    personality_name: str = ""
    #: ask: what the program may not do by itself it asks for, and people or rules answer; deny: it is denied.
    approvals: str = ApprovalMode.DENY


@dataclass(frozen=True, kw_only=True)
class Follow:
    """A file of lines that the program keeps beside its output: new ones come to `read` as lines of stream "log"."""

    #: A glob. {conversation} in it stands for an id that is not known before the program tells it.
    pattern: str
    #: The text before that id in a line of its output; the id ends at the next quote.
    announced_by: str = ""
    #: Only lines that hold one of these are told; empty: all.
    containing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Command:
    """What the shim executes."""

    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    #: A terminal, or pipes. On pipes each line of output becomes a telemetry record for `read`.
    tty: bool = False
    #: Written to the program's input at start; on pipes the input is closed after it.
    stdin: str = ""
    #: On pipes, keep the input open until the program prints a JSON object that holds these members.
    input_until: Mapping[str, str] | None = None
    follow: Follow | None = None


@dataclass(frozen=True)
class RecordPlace:
    """Where in an attempt's telemetry a record stands."""

    generation: int
    offset: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class MessageFact:
    """Something said or done. `key` is stable: the same line read twice gives the same key."""

    key: str
    role: Role
    text: str = ""
    tool_name: str = ""
    tool_input: Any = None
    is_error: bool = False
    #: The same for the use of a tool and for its result, and for nothing else in the session. Empty: not known.
    call_id: str = ""
    #: The program's own id of this place in its conversation, from which it may be forked. Empty: it has none.
    anchor: str = ""
    #: Of a message that was shortened: how much was left out, and where the whole stands. Not for backends.
    more_characters: int = 0
    place: RecordPlace | None = None
    at: datetime


@dataclass(frozen=True, kw_only=True)
class UsageFact:
    """Tokens and cost of one step. A backend whose program reports running totals gives the difference."""

    key: str
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    #: None: not known. Never 0 for that.
    cost_usd: Decimal | None = None
    #: The cost covers every entry of the session before it too (a total that settles what came in without one).
    settles: bool = False
    #: The part of a run of which the program may tell a total later; until then the cost is what prices say.
    stretch: str = ""
    #: The cost covers what came in without one in these stretches: of the same model, or of all models.
    covers: tuple[str, ...] = ()
    covers_all_models: bool = False
    at: datetime


@dataclass(frozen=True, kw_only=True)
class SessionFact:
    """The program told its own id of the conversation, or a title for it."""

    external_id: str = ""
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class FailureFact:
    """The program said that its run failed, whatever its exit code will be."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class StateFact:
    """What the program is about now. Told when it changes."""

    activity: Activity
    #: When a limit of the provider ends; None: nobody said.
    until: datetime | None = None
    #: What it wants permission for, or the provider's words.
    note: str = ""
    at: datetime


@dataclass(frozen=True, kw_only=True)
class ApprovalFact:
    """The program asks whether it may use a tool, and waits for the answer; or takes its question back."""

    #: The program's own id of the question, to which the answer goes.
    request_id: str
    withdrawn: bool = False
    tool_name: str = ""
    tool_input: Any = None
    #: Why it asks, in its own words.
    reason: str = ""
    #: A pattern that the program proposes for questions like this one, as rules have it.
    proposed_pattern: str = ""
    at: datetime


Fact = MessageFact | UsageFact | SessionFact | FailureFact | StateFact | ApprovalFact


@dataclass(frozen=True)
class FlagRule:
    """What the value of a flag must be; `wanted` says it for people."""

    accepts: Callable[[str], bool]
    wanted: str


def one_of(*choices: str) -> FlagRule:
    """Return the rule that a value is one of a few words."""
    return FlagRule(lambda value: value in choices, f"one of {', '.join(choices)}")


def number(kind: type[int] | type[float], minimum: float, maximum: float) -> FlagRule:
    """Return the rule that a value is a number from `minimum` to `maximum`."""

    def accepts(value: str) -> bool:
        try:
            return minimum <= kind(value) <= maximum
        except ValueError:
            return False

    return FlagRule(accepts, f"a {'whole ' if kind is int else ''}number from {minimum:g} to {maximum:g}")


def conversation_of(runner: Any) -> tuple[ConversationMode, str]:
    """Return how a run's conversation begins: new, resume or fork, and the program's id of the one it goes on from.

    A later attempt of a fork goes on with the copy that the first one made.
    """
    session = runner.session
    if runner.conversation_mode == ConversationMode.NEW:
        return ConversationMode.NEW, ""
    if runner.conversation_mode == ConversationMode.FORK and not session.external_id:
        return ConversationMode.FORK, session.resumed_from.external_id
    return ConversationMode.RESUME, session.external_id


def directory_of(runner: Any, variable: str, default: str) -> str:
    """Return, for a glob, the directory that `variable` names for this run, or else `default` below its home."""
    environment = {**os.environ, **runner.environment}
    home = environment.get("HOME") or str(Path.home())
    return glob.escape(environment.get(variable) or str(Path(home) / default))


def check_model(model: str) -> None:
    """Raise InvalidRequest if this cannot be the name of a model: a program might take it for a flag."""
    if model and not MODEL.fullmatch(model):
        raise InvalidRequest(f"{model!r} does not look like the name of a model.", field="model")


class Backend(ABC):
    """The adapter of one agent program. Registered by name in settings.RUNNER_BACKENDS."""

    name: ClassVar[str]
    #: For people.
    label: ClassVar[str]
    #: The executable to look for on a node; empty: none of its own.
    program: ClassVar[str] = ""
    #: Whose limits hold for it: programs of one provider and account wait together. Empty: it asks none.
    provider: ClassVar[str] = ""
    #: Directories below the home directory where its installer may put it, which often are not on a service's PATH.
    installed_in: ClassVar[tuple[str, ...]] = ()
    #: It can go on with a conversation of an earlier run, or with a copy of one.
    resumes: ClassVar[bool] = False
    forks: ClassVar[bool] = False
    #: It can ask whether it may use a tool, and wait for the answer.
    asks: ClassVar[bool] = False
    #: It can fork a conversation before its end, at a place whose id it told (`MessageFact.anchor`).
    forks_within: ClassVar[bool] = False
    #: What is said to a conversation that goes on by itself, after a crash, with nothing new to say.
    resumed_prompt: ClassVar[str] = "You were interrupted. Go on with what you were doing."
    #: What it says of a conversation that it does not know any more: after that a restart tells it what was said.
    unknown_conversation: ClassVar[str] = ""
    #: From SIGINT to SIGKILL where the launch does not say.
    grace_seconds: ClassVar[int] = 10
    #: What it says of a place in a conversation that it does not know.
    unknown_place: ClassVar[str] = ""
    #: The longest prompt it takes, in bytes; 0: no limit that we know of.
    longest_prompt_bytes: ClassVar[int] = 0
    #: Flags a caller may pass, with whether each takes a value.
    allowed_flags: ClassVar[Mapping[str, bool]] = {}
    #: What the values of some of them must be.
    flag_rules: ClassVar[Mapping[str, "FlagRule"]] = {}
    #: It prints lines for programs, not a screen for people.
    headless: ClassVar[bool] = False
    #: A prompt is needed, or is optional.
    prompt: ClassVar[str] = "optional"
    #: It may be run from an image that has its program; one that is part of Stratavore is not.
    in_container: ClassVar[bool] = True
    #: Variables that the program gets from the worker's own environment, beside those that every agent gets.
    passes_environment: ClassVar[tuple[str, ...]] = ()

    def check(self, request: LaunchRequest) -> None:
        """Raise InvalidRequest if this backend cannot run `request`. Knows nothing of nodes: that is find()'s part."""
        if self.prompt == "required" and not request.prompt.strip():
            raise InvalidRequest(f"The {self.name} backend needs a prompt.", field="prompt")
        _refuse_nul(request)
        self.check_approvals(request.approvals)
        self.check_conversation(request)
        self.check_flags(request.flags)

    def check_approvals(self, mode: str) -> None:
        """Raise InvalidRequest if what it may not do by itself should be asked for, and it cannot."""
        if mode == ApprovalMode.ASK and not self.asks:
            raise InvalidRequest(f"The {self.name} backend cannot ask for approval.", field="approvals")

    @property
    def goes_on(self) -> bool:
        """Say whether an earlier session can be gone on with: by the program, or by telling it what was said."""
        return self.resumes or self.prompt == "required"

    def knows_no_more(self, reason: str) -> bool:
        """Say whether a run ended because the program does not know the conversation, or that place in it."""
        return any(words and words in reason for words in (self.unknown_conversation, self.unknown_place))

    def check_conversation(self, request: LaunchRequest) -> None:
        """Raise InvalidRequest if there is no way to go on with an earlier conversation."""
        mode = request.conversation_mode
        if mode != ConversationMode.NEW and not self.goes_on:
            raise InvalidRequest(f"The {self.name} backend cannot {mode} a session.", field="conversation_mode")

    def check_flags(self, flags: list[str]) -> None:
        """Raise InvalidRequest at the first flag that is not in `allowed_flags`, or whose value is wrong."""
        for flag, value in self.flag_values(flags):
            rule = self.flag_rules.get(flag)
            if rule and value is not None and not rule.accepts(value):
                raise InvalidRequest(f"{flag} must be {rule.wanted}, not {value!r}.", field="flags")

    def flag_values(self, flags: list[str]) -> Iterator[tuple[str, str | None]]:
        """Yield each flag with its value, as `--flag value` or `--flag=value`. Raises InvalidRequest.

        A value of its own that begins with a dash is refused: a program might take it for a flag that is not allowed.
        """
        words = iter(flags)
        for word in words:
            flag, joined, value = word.partition("=")
            if flag not in self.allowed_flags:
                raise InvalidRequest(
                    f"The {self.name} backend does not know the flag {flag}.",
                    field="flags",
                    allowed=sorted(self.allowed_flags),
                )
            if not self.allowed_flags[flag]:
                if joined:
                    raise InvalidRequest(f"The flag {flag} takes no value.", field="flags")
                yield flag, None
                continue
            value = value if joined else next(words, "")
            if not joined and (not value or value.startswith("-")):
                raise InvalidRequest(
                    f"The flag {flag} needs a value; one with a dash goes as {flag}=VALUE.", field="flags"
                )
            yield flag, value

    def find(self) -> str | None:
        """Return the program's path on this machine, or None."""
        if not self.program:
            return None
        places = (str(Path.home() / directory / self.program) for directory in self.installed_in)
        return next(filter(None, map(shutil.which, (self.program, *places))), None)

    def find_for(self, request: Any) -> str | None:
        """Return the program's path for one launch (`request` is a LaunchRequest or a Runner), or None."""
        return self.find()

    def version(self, path: str) -> str:
        """Return the program's version as it tells it, or nothing."""
        if not self.program:
            return ""
        try:
            answer = subprocess.run(
                [path, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_SECONDS, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        found = VERSION.search(answer.stdout)
        return found[0][:30] if found else ""

    @abstractmethod
    def command(self, runner: Any, program: str) -> Command:
        """Return what to execute for `runner` (a runners.models.Runner), with the program at `program`."""

    def answer(self, request_id: str, *, allow: bool, message: str) -> str:
        """Return what goes into the program's input as the answer to its question; `message` says why not."""
        raise NotImplementedError(f"The {self.name} backend asks nothing.")

    def answer_of(self, message_key: str) -> str:
        """Return the program's id of the answer to which a message belongs, by its key; empty: nobody can say.

        Its usage then has keys usage:<answer>:….
        """
        return ""

    def read(self, record: Mapping[str, Any], state: dict[str, Any]) -> Iterable[Fact]:
        """Return the facts in one telemetry record; `state` may be changed.

        Unknown content gives no fact, never an error. `state["model"]` is the model that was asked for, if one was,
        `state["prompt"]` the digest of the prompt.
        """
        return ()


def _refuse_nul(request: LaunchRequest) -> None:
    """Raise InvalidRequest if a text holds a NUL: neither an argument, a variable nor a row of the database can."""
    texts = {
        "argv": request.argv,
        "prompt": [request.prompt],
        "model": [request.model],
        "flags": request.flags,
        "environment": [*request.environment, *request.environment.values()],
    }
    for field_name, values in texts.items():
        if any(isinstance(value, str) and "\0" in value for value in values):
            raise InvalidRequest(f"There is a NUL character in {field_name}.", field=field_name)
