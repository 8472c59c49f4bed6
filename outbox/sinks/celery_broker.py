"""A connection to Celery's broker that never waits for long: Celery's own pool retries for ever."""

import os
from typing import Any

from celery import current_app
from kombu.exceptions import KombuError

from outbox.exceptions import BrokerUnavailable

#: No retries inside kombu: the relay and the beat repeat, with the order kept.
ONCE = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}


def speaks_amqp() -> bool:
    """Return whether Celery's broker is RabbitMQ; else it is Valkey."""
    return str(current_app.conf.broker_url).startswith("amqp")


class CeleryBroker:
    """Sends tasks over a connection of its own, kept open between two. For one thread at a time."""

    def __init__(self, *, confirm: bool, connect_timeout: float, timeout: float) -> None:
        self.confirm, self.connect_timeout, self.timeout = confirm, connect_timeout, timeout
        self._connection: Any = None
        self._producer: Any = None
        self._pid, self._url = 0, ""
        self._declared: set[str] = set()

    def send(self, task: str, **options: Any) -> None:
        """Send one task. Raises BrokerUnavailable, or what is wrong with the task; then the next one reconnects."""
        try:
            self._connect()
            # Without `mandatory` RabbitMQ confirms a task whose queue was deleted meanwhile, and drops it.
            if self.confirm and speaks_amqp():
                options |= {"mandatory": True, "confirm_timeout": self.timeout}
            current_app.send_task(task, producer=self._producer, retry=False, **options)
        except BaseException as error:
            # An answer still under way would be taken for the answer to the next message.
            losses = self._losses()
            self.close()
            if isinstance(error, losses):
                raise BrokerUnavailable(f"Celery's broker was lost: {error or type(error).__name__}") from error
            raise

    def nudge(self, queue: str, *, expires: float) -> None:
        """Put a message without content in `queue`, for who listens there: a tenth of a task's cost.

        Raises BrokerUnavailable.
        """
        try:
            self._connect()
            channel = self._connection.default_channel
            if queue not in self._declared:
                current_app.amqp.queues[queue](channel).declare()
                self._declared.add(queue)
            message = channel.prepare_message(
                b"",
                content_type="application/octet-stream",
                content_encoding="binary",
                properties={"delivery_mode": 1, "expiration": str(int(expires * 1000))},
            )
            channel.basic_publish(message, exchange="", routing_key=queue)
        except self._losses() as error:
            self.close()
            raise BrokerUnavailable(f"Celery's broker was lost: {error or type(error).__name__}") from error

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in `queue`. Raises BrokerUnavailable."""
        try:
            self._connect()
            declared: Any = current_app.amqp.queues[queue](self._connection.default_channel).queue_declare()
            return int(declared.message_count)
        except self._losses() as error:
            self.close()
            raise BrokerUnavailable(f"Celery's broker was lost: {error or type(error).__name__}") from error

    def close(self) -> None:
        """Drop the connection; the next use opens another."""
        if self._connection is not None and self._pid == os.getpid():
            # Not of another process: closing what a fork inherited would close it for the parent.
            self._connection.collect()
        self._connection = self._producer = None
        self._declared.clear()

    def _connect(self) -> None:
        if self._connection is not None and not self._ours():
            self.close()
        if self._connection is None:
            self._pid, self._url = os.getpid(), current_app.conf.broker_url
            self._connection = current_app.connection_for_write(
                connect_timeout=self.connect_timeout, heartbeat=0, transport_options=ONCE | self._options()
            )
            self._producer = current_app.amqp.Producer(self._connection, auto_declare=False)

    def _ours(self) -> bool:
        return (self._pid, self._url) == (os.getpid(), current_app.conf.broker_url)

    def _options(self) -> dict[str, Any]:
        if speaks_amqp():
            return {"confirm_publish": self.confirm}
        return {"socket_connect_timeout": self.connect_timeout, "socket_timeout": self.timeout}

    def _losses(self) -> tuple[type[BaseException], ...]:
        known = self._connection.connection_errors if self._connection is not None else ()
        return (KombuError, OSError, *known)
