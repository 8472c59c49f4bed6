"""What PostgreSQL can hold as jsonb."""

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from outbox.exceptions import InvalidEventData

_encoder = DjangoJSONEncoder(allow_nan=False, ensure_ascii=False)


def as_jsonb(data: Any, *, what: str) -> str:
    r"""Return `data` as JSON that PostgreSQL's jsonb takes, or raise InvalidEventData.

    jsonb has no \u0000 and no half of a surrogate pair, and refusing them would undo the caller's change for what an
    agent happened to print: they become U+FFFD, as undecodable bytes do.
    """
    try:
        text = _encoder.encode(data)
    except (TypeError, ValueError) as error:
        raise InvalidEventData(f"{what} is not JSON: {error}") from error
    if "\\u0000" not in text and not _has_surrogate(text):
        return text
    return _encoder.encode(_repaired(json.loads(text)))


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text) if not text.isascii() else False


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\x00", "\ufffd")
    if isinstance(value, dict):
        return {_repaired(key): _repaired(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_repaired(item) for item in value]
    return value


def plain(data: Any, *, what: str) -> Any:
    """Return `data` as it will be read back: Decimal, UUID and time as text, 2.0 as 2. Raises InvalidEventData."""
    try:
        text = json.dumps(data, cls=DjangoJSONEncoder, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidEventData(f"{what} is not JSON: {error}") from error
    found = json.loads(text, parse_float=_number)
    return _repaired(found) if "\\u" in text else found


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number
