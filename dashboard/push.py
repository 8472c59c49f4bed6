"""Tell the live views of every web process that something changed. Best effort: each hub also looks by itself."""

import asyncio
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from outbox.live import GREW
from outbox.live import GROUP as GROUP

#: A relay must not wait for an absent server: the hubs find the events themselves within a second.
SEND_TIMEOUT_SECONDS = 2.0

log = structlog.get_logger(__name__)


def stream_grew(sequence: int) -> None:
    """Tell every web process that the event stream reaches `sequence` now."""
    async_to_sync(_send)({"type": GREW, "sequence": sequence})


async def observed(payload: dict[str, Any]) -> None:
    """Tell every web process what a node agent saw, at most once a second for a node.

    `payload` is {"node", "rows": [[runner_id, cpu_percent, memory_mb, process_count, output_bytes, observed_at], ...],
    "sessions": [ids of sessions that got messages or usage]}; ids and times as strings.
    """
    await _send({"type": "live.observed", **payload})


async def _send(message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        await asyncio.wait_for(layer.group_send(GROUP, message), SEND_TIMEOUT_SECONDS)
    except (OSError, RedisError, TimeoutError) as error:
        log.warning("live_push_failed", message_type=message["type"], error=str(error))
