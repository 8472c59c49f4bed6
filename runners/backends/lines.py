"""What parsers of foreign output share: reading it without ever failing on it, and keys that stay the same."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from runners.backends.base import FailureFact, MessageFact
from runners.states import Role

#: models.Message.key and models.UsageEntry.key hold this much.
MESSAGE_KEY_LENGTH = 120
USAGE_KEY_LENGTH = 160
#: models.Message.call_id and anchor hold this much.
CALL_ID_LENGTH = 100
#: models.Runner.reason holds this much.
REASON_LENGTH = 200
#: A count above it is nonsense, and would not go through JSON unharmed.
LARGEST_COUNT = 2**53
#: Of a tool's input, what tells at a glance what it would do; in the order in which it is looked for.
TELLING = ("command", "file_path", "notebook_path", "url", "query", "pattern", "description")
#: UsageEntry.cost_usd has 14 digits, 8 of them decimals.
COST_STEP = Decimal("0.00000001")
LARGEST_COST = Decimal(100_000)


def json_object(text: str, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any] | None:
    """Return the JSON object in a line, or None if it holds anything else. Never raises, however bad the line is."""
    try:
        value = json.loads(text, parse_float=parse_float)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects in a list; of anything else, none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def words(value: Any) -> str:
    """Return `value` as text that a database and a terminal can hold: no NUL, no half of a surrogate pair."""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def storable(value: Any) -> Any:
    """Return a JSON value with every text in it made as by `words`, and numbers that JSON does not know made None."""
    if isinstance(value, str):
        return words(value)
    if isinstance(value, dict):
        return {words(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, float) and not (-1e308 < value < 1e308):
        return None
    return value


def count(value: Any) -> int:
    """Return a number of tokens; nonsense counts as none."""
    plausible = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_COUNT
    return value if plausible else 0


def dollars(value: Any) -> Decimal | None:
    """Return an amount to the precision of the ledger, or None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount.quantize(COST_STEP) if amount.is_finite() and 0 <= amount < LARGEST_COST else None


def key(*parts: str, length: int = MESSAGE_KEY_LENGTH) -> str:
    """Return a stable key of `parts`; one that would be too long ends in a digest instead."""
    whole = words(":".join(parts))
    return whole if len(whole) <= length else f"{whole[: length - 33]}:{digest(whole)}"


def digest(text: str) -> str:
    """Return 32 hexadecimal digits that stand for `text`."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def moment(record: Mapping[str, Any]) -> datetime:
    """Return when a telemetry record was made."""
    return datetime.fromtimestamp(record["t"], tz=UTC)


def failure(reason: str) -> FailureFact:
    """Return a failure whose reason fits on one line of a runner's page."""
    return FailureFact(reason=" ".join(words(reason).split())[:REASON_LENGTH])


def notice(record: Mapping[str, Any], message_key: str, text: str, *, is_error: bool = False) -> MessageFact:
    """Return a message of the system itself: a retry, a note."""
    return MessageFact(key=message_key, role=Role.SYSTEM, text=words(text), is_error=is_error, at=moment(record))


def telling(tool_input: Any) -> str:
    """Return the one value of a tool's input that tells most."""
    values = mapping(tool_input)
    return next((words(values[name]) for name in TELLING if words(values.get(name)).strip()), "")
