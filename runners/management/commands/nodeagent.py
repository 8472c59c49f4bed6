"""`manage.py nodeagent`: the agent of this node."""

import asyncio
import contextlib
import signal
from typing import Any

from django.core.management.base import BaseCommand

from runners.garbage import spare_what_stays
from runners.node_agent.agent import NodeAgent


class Command(BaseCommand):
    help = "Adopt and report the runners of this node, until SIGTERM. The runners go on without it."

    def handle(self, *args: Any, **options: Any) -> None:
        spare_what_stays()
        asyncio.run(until_told(NodeAgent().run()))


async def until_told(work: Any) -> None:
    """Run `work` until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
