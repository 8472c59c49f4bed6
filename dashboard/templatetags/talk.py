"""How a conversation's parts are shown."""

import json
import shlex
from typing import Any

from django import template
from django.core.serializers.json import DjangoJSONEncoder

from dashboard.diffs import Patch
from dashboard.talk import patch_counts as counted

register = template.Library()

#: Arguments that are paths: the end of a long one says more than its beginning.
_PATHS = frozenset({"file_path", "filePath", "absolute_path", "path"})
PATH_CHARACTERS = 50

#: The argument that tells most about a call, in this order.
_TELLING = (
    "command", "cmd", "file_path", "filePath", "absolute_path", "path", "pattern", "url", "query", "description",
    "prompt",
)  # fmt: skip


@register.filter
def glance(tool_input: Any) -> str:
    """Return one line that tells what a tool was called for."""
    if isinstance(tool_input, dict):
        for name in _TELLING:
            if isinstance(tool_input.get(name), str):
                return first_line(_end_of_path(tool_input[name]) if name in _PATHS else tool_input[name])
    return "" if tool_input is None else first_line(as_json(tool_input, indent=None))


def _end_of_path(path: str) -> str:
    if len(path) <= PATH_CHARACTERS:
        return path
    end = path[-PATH_CHARACTERS:]
    return f"…{end[end.find('/') :]}" if "/" in end else path


@register.filter
def first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 140 else f"{line[:139]}…"


@register.filter
def as_json(value: Any, indent: int | None = 2) -> str:
    """Return JSON to be read; the template escapes it."""
    return json.dumps(value, indent=indent, ensure_ascii=False, cls=DjangoJSONEncoder)


@register.filter
def as_line(argv: list[str]) -> str:
    """Return a command as one would type it."""
    return shlex.join(argv)


@register.filter
def patch_counts(patch: Patch) -> tuple[int, int]:
    """Return how many lines a patch puts in and takes out."""
    return counted(patch)


@register.filter
def characters(length: int) -> str:
    return f"{length:,} characters"
