"""The event types there are. Each app registers its own from AppConfig.ready(); publish() refuses any other.

The docs page and the API's list of types are made from this.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from outbox.exceptions import UnknownEventType
from outbox.states import Severity

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_types: dict[str, "EventType"] = {}


@dataclass(frozen=True)
class EventType:
    """One kind of fact. `data` maps each field of the event's data to a short word for its type.

    A word ending in "?" marks a field that may be absent or null: {"exit_code": "integer?"}.
    """

    name: str
    description: str
    data: Mapping[str, str]
    severity: Severity = Severity.INFO

    @cached_property
    def required(self) -> frozenset[str]:
        return frozenset(field for field, word in self.data.items() if not word.endswith("?"))


def register(name: str, *, description: str, data: Mapping[str, str], severity: Severity = Severity.INFO) -> EventType:
    """Make an event type known. Registering the same again is harmless; a different one of that name is refused."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"An event type is named like runner.started, not {name!r}.")
    new = EventType(name, description, MappingProxyType(dict(data)), severity)
    if _types.setdefault(name, new) != new:
        raise ValueError(f"The event type {name} is registered twice, differently.")
    return new


def get(name: str) -> EventType:
    """Return an event type, or raise UnknownEventType."""
    try:
        return _types[name]
    except KeyError:
        raise UnknownEventType(name) from None


def severity_of(name: str) -> Severity:
    """Return the severity of a type; info for one that is no longer registered."""
    return _types[name].severity if name in _types else Severity.INFO


def all_types() -> list[EventType]:
    """Return the event types by name."""
    return [_types[name] for name in sorted(_types)]
