"""Run database work from the node agent's event loop, in threads that give their connection back."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

#: A server is away: wait, and go on where we were.
AWAY = (OperationalError, InterfaceError, PoolTimeout, RedisError, ConnectionError)

Result = TypeVar("Result")

#: Four transactions at once are more than one node's telemetry needs, and leave the pool to others.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="database")


async def in_database(work: Callable[[], Result]) -> Result:
    """Run `work` in a thread and return its result; its connection goes back to the pool."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _and_give_back, work)


def _and_give_back(work: Callable[[], Result]) -> Result:
    try:
        return work()
    finally:
        connections.close_all()
