"""Who asked for what runs now: the door they came by, and the trace they belong to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from outbox import trace
from outbox.origin import Origin, current_origin, origin


@dataclass(frozen=True, slots=True)
class Caller:
    origin: Origin
    traceparent: str


def current_caller() -> Caller:
    """Return who asked for what runs now."""
    return Caller(current_origin(), trace.current())


@contextmanager
def on_behalf_of(caller: Caller) -> Iterator[None]:
    """Let what the block records and publishes be asked for by `caller`, whoever's thread it runs in."""
    with origin(caller.origin), trace.following(caller.traceparent):
        yield
