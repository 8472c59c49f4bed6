"""Wake-ups as the relay hears them: straight from their queue, not as tasks, which cost a worker milliseconds each."""

import time
from typing import Any

import structlog
from celery import current_app
from kombu import Consumer
from kombu.exceptions import KombuError

from outbox.sinks.celery_broker import ONCE, speaks_amqp

CONNECT_TIMEOUT_SECONDS = 3

log = structlog.get_logger(__name__)


class Wakes:
    """Listens at one queue. For one thread. With the broker away it only waits: that is what the safety beat is for."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self._connection: Any = None
        self._heard = 0

    def wait(self, seconds: float) -> bool:
        """Return once a wake-up has come, or after `seconds`; say which. All that wait count as one."""
        begun, self._heard = time.monotonic(), 0
        try:
            self._connect()
            self._drain(seconds)
            while self._heard and self._drain(0):
                continue
        except self._losses() as error:
            log.info("outbox_wakes_lost", error=str(error))
            self.close()
            # Else a broker that is away would be asked over and over.
            time.sleep(max(0.0, begun + seconds - time.monotonic()))
        return self._heard > 0

    def close(self) -> None:
        """Drop the connection; the next wait opens another."""
        if self._connection is not None:
            self._connection.collect()
        self._connection = None

    def _drain(self, seconds: float) -> bool:
        try:
            self._connection.drain_events(timeout=seconds)
        except TimeoutError:
            return False
        return True

    def _connect(self) -> None:
        if self._connection is not None:
            return
        limits = {} if speaks_amqp() else {"socket_connect_timeout": CONNECT_TIMEOUT_SECONDS}
        self._connection = current_app.connection_for_read(
            connect_timeout=CONNECT_TIMEOUT_SECONDS, heartbeat=0, transport_options=ONCE | limits
        )
        channel = self._connection.default_channel
        # Whatever comes is a wake-up, also a task that an older release sent.
        consumer: Any = Consumer(
            channel, [current_app.amqp.queues[self.queue]], on_message=self._hear, no_ack=True, accept=None
        )
        consumer.consume()

    def _hear(self, message: Any) -> None:
        self._heard += 1

    def _losses(self) -> tuple[type[BaseException], ...]:
        known = self._connection.connection_errors if self._connection is not None else ()
        return (KombuError, OSError, *known)
