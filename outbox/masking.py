"""Keep secrets out of records that stay for ever."""

import re
from typing import Any

MASK = "***"
#: All values below these are secret: the environment of a process.
_SECRET_BELOW = frozenset({"environment", "env", "headers"})
_SECRET = re.compile(
    r"(^|[_-])(password|passwd|secret|token|api[_-]?key|private[_-]?key|authorization|credentials?)$", re.I
)


def masked(value: Any) -> Any:
    """Return `value` with what its name says is secret replaced by MASK; names stay."""
    if isinstance(value, dict):
        return {key: _masked_item(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def _masked_item(name: str, value: Any) -> Any:
    if name.lower() in _SECRET_BELOW and isinstance(value, dict):
        return dict.fromkeys(value, MASK)
    if _SECRET.search(name) and value not in (None, ""):
        return MASK
    return masked(value)
