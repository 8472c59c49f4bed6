"""Events to RabbitMQ's topic exchange: all of a batch on their way at once, each confirmed by the broker.

py-amqp's own confirm_publish waits for each message in turn (1,200/s where this reaches 10,000) and takes a message
that no queue wanted for a delivered one; so confirms and returns are read here.
"""

import os
import time
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any

import amqp
import structlog
from amqp import spec
from amqp.exceptions import AMQPError, ContentTooLarge, IrrecoverableConnectionError, PreconditionFailed
from django.conf import settings
from kombu import Connection

from outbox import broker
from outbox.envelope import CONTENT_TYPE, Outgoing, cloud_event
from outbox.exceptions import BrokerUnavailable
from outbox.sinks.outcome import Outcome

CONNECT_TIMEOUT_SECONDS = 3
#: A broker that confirms nothing for so long is blocked (memory or disk alarm) or gone.
CONFIRM_TIMEOUT_SECONDS = 10
#: Of AMQP: a short string's length is one byte.
MAX_ROUTING_KEY_BYTES = 255
#: What a message does to the channel or connection that carries it, when the broker will not have it.
REFUSALS = (PreconditionFailed, ContentTooLarge, IrrecoverableConnectionError)

log = structlog.get_logger(__name__)
_lock = Lock()
_open: "Publisher | None" = None


def enabled() -> bool:
    """Return whether there is an exchange: embedded mode runs without RabbitMQ."""
    return bool(settings.AMQP_URL)


def connect() -> None:
    """Be sure of a connection, declaring the broker's objects on a new one.

    Raises BrokerUnavailable, BrokerMismatch.
    """
    with _lock:
        _publisher()


def publish(events: Sequence[Outgoing], outcome: Outcome) -> None:
    """Publish a batch; fill in what arrived and what failed. A lost broker is noted in `outcome.unavailable`."""
    messages = list(_encoded(events, outcome))
    if not messages:
        return
    with _lock:
        try:
            waiting = _pipelined(messages, outcome)
            if waiting:
                _one_by_one(waiting, outcome)
        except BrokerUnavailable as error:
            outcome.unavailable = str(error)


def close() -> None:
    """Drop the connection, if there is one."""
    global _open
    if _open is not None and _open.pid == os.getpid():
        _open.close()
    _open = None


Message = tuple[Outgoing, amqp.Message]


def _encoded(events: Sequence[Outgoing], outcome: Outcome) -> Iterable[Message]:
    """Yield the messages; what cannot be one fails for good, and holds back the rest of its aggregate."""
    for event in events:
        if event.aggregate in outcome.held:
            continue
        body = cloud_event(event)
        if len(body) > settings.OUTBOX_MAX_MESSAGE_BYTES:
            outcome.fail(event, f"{len(body)} bytes are more than OUTBOX_MAX_MESSAGE_BYTES allows", final=True)
        elif len(event.routing_key.encode()) > MAX_ROUTING_KEY_BYTES:
            outcome.fail(event, f"the routing key is longer than {MAX_ROUTING_KEY_BYTES} bytes", final=True)
        else:
            yield event, _message(event, body)


def _message(event: Outgoing, body: bytes) -> amqp.Message:
    return amqp.Message(
        body,
        content_type=CONTENT_TYPE,
        content_encoding="utf-8",
        delivery_mode=2,  # persistent
        message_id=str(event.event_id),
        type=event.type,
    )


def _pipelined(messages: Sequence[Message], outcome: Outcome) -> list[Message]:
    """Publish all at once. Return what is undecided because the broker refused one of them, it does not say which."""
    publisher = _publisher()
    try:
        publisher.send(messages, outcome)
    except REFUSALS as error:
        close()
        log.warning("outbox_batch_refused", error=str(error), size=len(messages))
        return publisher.unconfirmed()
    except (AMQPError, OSError) as error:
        close()
        raise BrokerUnavailable(f"RabbitMQ was lost: {error or type(error).__name__}") from error
    return []


def _one_by_one(messages: Sequence[Message], outcome: Outcome) -> None:
    """Find the message that the broker refuses: the one it closes the channel for when it travels alone."""
    for event, message in messages:
        if event.aggregate not in outcome.held and _pipelined([(event, message)], outcome):
            outcome.fail(event, "the broker refused the message and closed the channel", final=True)


def _publisher() -> "Publisher":
    """Return this process's open publisher. Call with the lock held."""
    global _open
    if _open is None or not _open.usable():
        close()
        _open = Publisher(settings.AMQP_URL, settings.OUTBOX_EXCHANGE)
    return _open


class Publisher:
    """One long-lived channel in confirm mode."""

    def __init__(self, url: str, exchange: str) -> None:
        self.url, self.exchange, self.pid = url, exchange, os.getpid()
        self._tag = 0
        self._waiting: dict[int, Message] = {}
        self._returned: dict[str, str] = {}
        self._outcome = Outcome()
        try:
            self._connection = _connection(url)
        except (AMQPError, OSError) as error:
            raise BrokerUnavailable(f"RabbitMQ cannot be reached: {error or type(error).__name__}") from error
        try:
            self._channel = self._prepared_channel()
        except BaseException:
            self.close()
            raise

    def _prepared_channel(self) -> Any:
        try:
            channel = self._connection.channel()
            broker.declare(channel, self.exchange)
            channel.confirm_select()
        except (AMQPError, OSError) as error:
            raise BrokerUnavailable(f"RabbitMQ was lost: {error or type(error).__name__}") from error
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        return channel

    def usable(self) -> bool:
        """Return whether this is still our connection, as far as the socket knows."""
        if (self.pid, self.url, self.exchange) != (os.getpid(), settings.AMQP_URL, settings.OUTBOX_EXCHANGE):
            return False
        try:
            while True:
                self._connection.drain_events(timeout=0)
        except TimeoutError:
            return True
        except (AMQPError, OSError):
            return False

    def send(self, messages: Sequence[Message], outcome: Outcome) -> None:
        """Publish, then wait until the broker has said yes or no to each."""
        self._outcome = outcome
        for event, message in messages:
            self._tag += 1
            self._waiting[self._tag] = (event, message)
            # basic_publish would poll the socket before each message.
            self._channel.send_method(
                spec.Basic.Publish, "Bssbb", (0, self.exchange, event.routing_key, True, False), message
            )
        deadline = time.monotonic() + CONFIRM_TIMEOUT_SECONDS
        while self._waiting:
            self._connection.drain_events(timeout=max(0.001, deadline - time.monotonic()))

    def unconfirmed(self) -> list[Message]:
        """Return what the broker has not answered."""
        return list(self._waiting.values())

    def close(self) -> None:
        """Close politely if that is still possible."""
        try:
            self._connection.close()
        except (AMQPError, OSError) as error:
            log.debug("outbox_close_failed", error=str(error))
            self._connection.collect()

    def _on_ack(self, tag: int, multiple: bool) -> None:
        for event, message in self._answered(tag, multiple):
            reason = self._returned.pop(message.properties["message_id"], "")
            if reason:
                self._outcome.fail(event, reason)
            else:
                self._outcome.delivered.append(event.id)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        for event, _ in self._answered(tag, multiple):
            self._outcome.fail(event, "the broker did not take the message (nack)")

    def _on_return(self, error: Exception, exchange: str, routing_key: str, message: amqp.Message) -> None:
        # The broker returns what no queue wants, and then confirms it as if all were well.
        self._returned[message.properties["message_id"]] = f"no queue is bound for {routing_key}: {error}"

    def _answered(self, tag: int, multiple: bool) -> list[Message]:
        """Remove and return the messages one answer is about. Tags grow, and so does the dict's order."""
        tags = [tag] if not multiple else [waiting for waiting in self._waiting if waiting <= tag]
        return [self._waiting.pop(tag) for tag in tags if tag in self._waiting]


def _connection(url: str) -> Any:
    """Open a connection without heartbeats: nobody would send them between two batches; the socket has keepalive."""
    address = Connection(
        url,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        heartbeat=0,
        transport_options={"read_timeout": CONFIRM_TIMEOUT_SECONDS, "write_timeout": CONFIRM_TIMEOUT_SECONDS},
    )
    return address.transport.establish_connection()
