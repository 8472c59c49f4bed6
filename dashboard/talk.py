"""A conversation as the pages show it: what was said, and each use of a tool together with its result."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.db.models.functions import Left, Length
from django.utils.safestring import SafeString

from dashboard import figures
from dashboard.diffs import Patch
from dashboard.prose import Prose
from dashboard.tool_changes import change_in, patch_in
from runners.models import Message
from runners.states import Role

#: Of one message; the rest is a click away.
SAID_CHARACTERS = 20_000
PRINTED_CHARACTERS = 6_000
INPUT_CHARACTERS = 6_000
SHORT = 100
#: Inputs of tools that are a command for a shell.
_COMMANDS = ("command", "cmd")


def shown_messages(messages: QuerySet[Message]) -> QuerySet[Any]:
    """Return the messages with the beginning of their text, not all of it: `head`, and its `length`."""
    return messages.defer("text").annotate(head=Left("text", SAID_CHARACTERS), length=Length("text"))


@dataclass
class Item:
    """One entry of the page."""

    message: Any
    prose: Prose = field(repr=False)
    result: Any = None

    @property
    def is_tool(self) -> bool:
        return bool(self.message.tool_name) or self.message.role == Role.TOOL

    @property
    def is_result_alone(self) -> bool:
        """Its call stands elsewhere: on an earlier page, or nobody told which one it is."""
        return bool(self.message.role == Role.TOOL)

    @property
    def printed(self) -> Any:
        """The message whose text is what the tool printed, or None."""
        return self.message if self.is_result_alone else self.result

    @property
    def is_error(self) -> bool:
        return bool(self.message.is_error or (self.result and self.result.is_error))

    @property
    def last_id(self) -> int:
        return int(max(self.message.pk, self.result.pk if self.result else 0))

    @property
    def took(self) -> str:
        """How long the tool took, where that is worth saying."""
        seconds = (self.result.at - self.message.at).total_seconds() if self.result else 0
        return figures.seconds(seconds) if seconds >= 1 else ""

    @property
    def html(self) -> SafeString | str:
        """What an agent says is Markdown; what people and programs say is shown as it is."""
        return self.prose.html(self.message.head) if self.message.role == Role.ASSISTANT else ""

    @property
    def is_cut(self) -> bool:
        return bool(self.message.length > SAID_CHARACTERS)

    @property
    def patch(self) -> Patch | None:
        return None if self.is_result_alone else change_in(self.message.tool_name, self.message.tool_input)

    @property
    def command(self) -> str:
        given = self.message.tool_input
        if not isinstance(given, dict):
            return ""
        return next((given[name][:INPUT_CHARACTERS] for name in _COMMANDS if isinstance(given.get(name), str)), "")

    @property
    def given(self) -> str:
        """The tool's input as JSON, unless the folded line tells it all."""
        given = self.message.tool_input
        short = isinstance(given, dict) and len(given) == 1 and len(str(next(iter(given.values())))) < SHORT
        if not given or short:
            return ""
        return json.dumps(self.message.tool_input, indent=2, ensure_ascii=False, cls=DjangoJSONEncoder)[
            :INPUT_CHARACTERS
        ]

    @property
    def output(self) -> str:
        return str(self.printed.head[:PRINTED_CHARACTERS]) if self.printed else ""

    @property
    def output_patch(self) -> Patch | None:
        return patch_in(self.output) if self.output else None

    @property
    def more_output(self) -> str:
        """How much was printed in all, if that is more than is shown."""
        length = self.printed.length if self.printed else 0
        return f"{length:,} characters" if length > PRINTED_CHARACTERS else ""


def items_of(messages: Iterable[Any]) -> list[Item]:
    """Return the entries for messages in their order; a result goes with the call that has its id.

    Without an id it goes with the call right before it, if that is one of the same tool.
    """
    prose, items = Prose(), list[Item]()
    calls: dict[tuple[Any, str], Item] = {}
    for message in messages:
        call = _call_of(message, calls, items) if message.role == Role.TOOL else None
        if call is not None:
            call.result = message
            continue
        items.append(Item(message, prose))
        if message.call_id and message.role != Role.TOOL:
            calls[(message.runner_id, message.call_id)] = items[-1]
    return items


def _call_of(message: Any, calls: dict[tuple[Any, str], Item], items: list[Item]) -> Item | None:
    if message.call_id:
        found = calls.get((message.runner_id, message.call_id))
        return found if found and found.result is None else None
    last = items[-1] if items else None
    fits = last and last.result is None and last.is_tool and not last.is_result_alone and not last.message.call_id
    return last if fits and last and last.message.tool_name == message.tool_name else None


def patch_counts(patch: Patch) -> tuple[int, int]:
    """Return how many lines a patch puts in and takes out."""
    kinds = [kind for file in patch.files for kind, _ in file.lines]
    return kinds.count("add"), kinds.count("del")
