"""W3C trace context: one trace from a request to the events it causes, the tasks they ask for, and what those publish.

It travels in structlog's context, so that log lines carry it, too.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

NAME = "traceparent"
_HEADER = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")


def current() -> str:
    """Return the traceparent of what runs now, or nothing."""
    return str(structlog.contextvars.get_contextvars().get(NAME, ""))


def next_hop(header: str) -> str:
    """Return a traceparent of our own in the trace of `header`; where that is none, of a new trace."""
    found = _HEADER.fullmatch(header)
    trace, flags = found.groups()[:2] if found else (os.urandom(16).hex(), "01")
    return f"00-{trace}-{os.urandom(8).hex()}-{flags}"


@contextmanager
def following(traceparent: str) -> Iterator[None]:
    """Let what the block publishes belong to this trace; to none, if it is empty."""
    with structlog.contextvars.bound_contextvars(**{NAME: traceparent}):
        yield
