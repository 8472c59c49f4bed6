"""Have the connections of a thread go to allowed addresses only, whoever opens them.

Apprise's services look names up by themselves and follow redirects, each by a library of its own. The interpreter tells
of each connection before it is made (sys.addaudithook), and what is raised then prevents it.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from ipaddress import ip_address
from typing import Any

from outbox.webhooks.addresses import is_allowed

_of_this_thread = threading.local()


@contextmanager
def allowed_addresses_only() -> Iterator[list[str]]:
    """Let each attempt of this thread to connect to another address fail; yield what was refused.

    It fails as an address that does not answer: libraries know how to clean up after that.
    """
    _watch_connections()
    refused: list[str] = []
    _of_this_thread.refused = refused
    try:
        yield refused
    finally:
        _of_this_thread.refused = None


@cache
def _watch_connections() -> None:
    # Such a hook stays until the process ends, so there is one.
    sys.addaudithook(_before)


def _before(event: str, facts: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.sendto"}:
        refused: list[str] | None = getattr(_of_this_thread, "refused", None)
        if refused is not None and (why := _wrong_with(facts[1])):
            refused.append(why)
            raise ConnectionRefusedError(why)


def _wrong_with(place: Any) -> str:
    """Return why `place` is not connected to, or nothing. A name is not: it may mean anything."""
    host = str(place[0]).partition("%")[0] if isinstance(place, tuple) else str(place)
    try:
        allowed = is_allowed(ip_address(host))
    except ValueError:
        allowed = False
    return "" if allowed else f"{host} is not a public address."
