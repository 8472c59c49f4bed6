"""Values of the files' fields, checked as they are read: a wrong one makes its line malformed, and says why."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from agents.jsonl.lines import Malformed

Choice = TypeVar("Choice", bound=Enum)


class Fields:
    """The fields of one line. Every reader raises Malformed and names the field."""

    def __init__(self, found: Mapping[str, Any], zone: ZoneInfo) -> None:
        self.found = found
        self.zone = zone

    def text(self, name: str, *, longest: int, required: bool = False) -> str:
        value = self.found.get(name)
        if value is None or value == "":
            if required:
                raise Malformed(f"{name} is missing")
            return ""
        if not isinstance(value, str):
            raise Malformed(f"{name} is not text: {value!r}")
        if "\0" in value:
            raise Malformed(f"{name} holds a NUL character")
        if len(value) > longest:
            raise Malformed(f"{name} is longer than {longest} characters")
        return value

    def choice(self, name: str, kind: type[Choice], default: Choice) -> Choice:
        value = self.found.get(name)
        if value is None:
            return default
        try:
            return kind(value)
        except ValueError:
            raise Malformed(f"{name} is {value!r}: none of {', '.join(str(each.value) for each in kind)}") from None

    def words(self, name: str) -> list[str]:
        value = self.found.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(each, str) and "\0" not in each for each in value):
            raise Malformed(f"{name} is not a list of texts")
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        value = self.found.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise Malformed(f"{name} is not an object")
        return value

    def hours(self, name: str) -> Decimal | None:
        value = self.found.get(name)
        if value is None:
            return None
        try:
            hours = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
        except InvalidOperation:
            hours = Decimal("NaN")
        if not hours.is_finite() or not 0 <= hours < 1_000_000:
            raise Malformed(f"{name} is not a number of hours: {value!r}")
        return hours.quantize(Decimal("0.01"))

    def seconds(self, name: str) -> float:
        value = self.found.get(name) or 0
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
            raise Malformed(f"{name} is not a number of seconds: {value!r}")
        return float(value)

    def moment(self, name: str, *, required: bool = False) -> datetime | None:
        """Return a moment; one without a zone is local time."""
        text = self.text(name, longest=40, required=required)
        return local_moment(text, self.zone, name) if text else None


def local_moment(text: str, zone: ZoneInfo, name: str) -> datetime:
    """Return the moment that an ISO text names; without a zone it is local time there. Raises Malformed."""
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        raise Malformed(f"{name} is no moment: {text!r}") from None


def local_text(moment: datetime | None, zone: ZoneInfo) -> str | None:
    """Return a moment as the files have it: ISO, local time, without a zone."""
    return moment.astimezone(zone).replace(tzinfo=None).isoformat() if moment else None
