"""Which events somebody wants: patterns of types, and projects."""

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any

from outbox import registry

_PATTERN = re.compile(r"[a-z0-9_.*]{1,100}")


def wrong_pattern(pattern: str) -> str:
    """Return what is wrong with a pattern of event types, or nothing."""
    if not _PATTERN.fullmatch(pattern):
        return f"{pattern!r} is no pattern of event types, as runner.* is."
    if not any(fnmatchcase(each.name, pattern) for each in registry.all_types()):
        return f"No event type matches {pattern!r}."
    return ""


def wants(types: Sequence[str], projects: Collection[str], *, type: str, data: Any) -> bool:
    """Return whether an event is wanted. One that has no project is not narrowed by projects."""
    if not any(fnmatchcase(type, pattern) for pattern in types):
        return False
    project = data.get("project") if projects and isinstance(data, dict) else None
    return project is None or project in projects
