"""What the pages show of what programs ask. What a program prints is hostile: nothing in it may hide or pretend."""

import difflib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.urls import reverse

from dashboard import figures
from runners.models import Approval
from runners.services.approvals.policy import Question, parts_of, proposed_rule
from runners.states import ApprovalState

#: Lines and characters that a card shows; it says when there is more.
MAX_LINES = 400
MAX_CHARACTERS = 20_000
#: Comparing takes time that grows with the square of this.
COMPARABLE_LINES = 1_000
WAITING_SHOWN = 100
Line = tuple[str, str]
Row = dict[str, Any]


def waiting_rows(**narrowed: Any) -> list[Row]:
    """Return what waits, the one that expires first first."""
    waiting = Approval.objects.filter(state=ApprovalState.WAITING, **narrowed).order_by("expires_at", "pk")
    return approval_rows(waiting.select_related("runner__project", "runner__worktree")[:WAITING_SHOWN])


def approval_rows(approvals: Iterable[Approval]) -> list[Row]:
    return [approval_row(approval) for approval in approvals]


def approval_row(approval: Approval) -> Row:
    """Return what is shown of one question; wants its runner and project loaded."""
    runner = approval.runner
    lines = list(_lines(approval.tool_name, approval.tool_input))
    text_length = sum(len(text) for _, text in lines)
    rule_tool, rule_pattern = proposed_rule(approval)
    question = Question.of(runner, approval.tool_name, approval.tool_input)
    parts = parts_of(question.text) if question.is_shell else []
    return {
        "id": str(approval.pk),
        "runner": runner.name,
        "runner_url": reverse("dashboard:runner", args=[runner.pk]),
        "session_url": reverse("dashboard:session", args=[approval.session_id]) if approval.session_id else "",
        "project": runner.project.name,
        "agent": runner.agent_name,
        "tool": visible(approval.tool_name),
        "about": visible(_about(approval)),
        "wants": visible(approval.wants),
        "reason": visible(approval.reason),
        "lines": [(kind, visible(text)) for kind, text in _short(lines)],
        "more": len(lines) > MAX_LINES or text_length > MAX_CHARACTERS,
        "parts": len(parts) if len(parts) > 1 else 0,
        "session_rule": visible(f"{rule_tool}({rule_pattern or '*'})") if approval.session_id else "",
        "asked_at": figures.instant(approval.asked_at),
        "expires_at": figures.instant(approval.expires_at),
        "state": approval.state,
        "state_label": approval.get_state_display(),
        "decided_at": figures.instant(approval.decided_at),
        "decided_by": approval.decided_by,
        "message": visible(approval.message),
        "rule": visible(approval.rule_text),
        "delivered": approval.delivered_at is not None,
    }


def waiting_of(runner_ids: Iterable[UUID | str]) -> list[Row]:
    """Return what these runners ask."""
    ids = list(runner_ids)
    return waiting_rows(runner__in=ids) if ids else []


def visible(text: str) -> str:
    r"""Return `text` with everything that cannot be seen, or turns what is seen around, written as \u202e.

    A command that reads otherwise than it runs must not be allowed by mistake.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_plain(character) else _escaped(character) for character in text)


def _is_plain(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def _about(approval: Approval) -> str:
    """Return the file, address or purpose that is named beside what is shown."""
    values = approval.tool_input
    for name in ("file_path", "notebook_path", "url", "description"):
        if isinstance(values.get(name), str):
            return str(values[name])
    return ""


def _lines(tool: str, values: Mapping[str, Any]) -> Iterator[Line]:
    """Return what the tool would do: a command, a change as removed and added lines, or its input as it is."""
    match values:
        case {"command": str(command)}:
            yield from (("command", line) for line in command.split("\n"))
        case {"old_string": str(old), "new_string": str(new)}:
            yield from _changed(old, new)
        case {"edits": [*edits]}:
            for edit in edits:
                match edit:
                    case {"old_string": str(old), "new_string": str(new)}:
                        yield "hunk", "@@"
                        yield from _changed(old, new)
                    case _:
                        yield from _as_json(edit)
        case {"file_path": str(), "content": str(content)}:
            yield from (("add", f"+{line}") for line in content.split("\n"))
        case _:
            yield from _as_json(values)
            return
    known = {"command", "description", "old_string", "new_string", "edits", "file_path", "content"}
    if rest := {name: value for name, value in values.items() if name not in known and value not in (None, False)}:
        yield from _as_json(rest)


def _changed(old: str, new: str) -> Iterator[Line]:
    before, after = old.split("\n"), new.split("\n")
    if max(len(before), len(after)) > COMPARABLE_LINES:
        yield from (("del", f"-{line}") for line in before)
        yield from (("add", f"+{line}") for line in after)
        return
    kinds = {"+": "add", "-": "del", "@": "hunk"}
    for line in [*difflib.unified_diff(before, after, lineterm="", n=3)][2:]:
        if line != " ":
            yield kinds.get(line[:1], "same"), line


def _as_json(value: Any) -> Iterator[Line]:
    text = json.dumps(value, indent=2, ensure_ascii=False, cls=DjangoJSONEncoder)
    yield from (("json", line) for line in text.split("\n"))


def _short(lines: list[Line]) -> Iterator[Line]:
    left = MAX_CHARACTERS
    for kind, text in lines[:MAX_LINES]:
        if left <= 0:
            return
        yield kind, text[:left]
        left -= len(text) + 1
