"""Where the present act comes from: set by whoever opens the door, read by the audit log.

It follows the execution: through awaits, sync_to_async and async_to_sync, not into threads that one starts oneself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from outbox.states import Source


@dataclass(frozen=True, slots=True)
class Origin:
    source: Source = Source.SYSTEM
    ip: str = ""
    request_id: str = ""


_current: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039 - frozen


def current_origin() -> Origin:
    """Return where the running code was called from; a process that said nothing is the system itself."""
    return _current.get()


@contextmanager
def origin(where: Origin) -> Iterator[None]:
    """Let acts inside the block come from `where`."""
    token = _current.set(where)
    try:
        yield
    finally:
        _current.reset(token)


def set_origin(where: Origin) -> None:
    """Let all further acts of this process (this context) come from `where`."""
    _current.set(where)


def come_from_command_line() -> None:
    """Let the acts of this process come from the command line."""
    set_origin(Origin(Source.CLI))
