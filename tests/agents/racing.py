"""Calls that race."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections

from agents.exceptions import AgentError


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make the calls at the same time, each on a connection of its own; return what each returned, or its refusal."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            start.wait(timeout=30)
            return call()
        except AgentError as refusal:
            return refusal
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
