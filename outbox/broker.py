"""The exchanges and queues of the event stream: the one place that declares them.

Celery's own queues are declared in its configuration.
"""

from dataclasses import dataclass, field
from typing import Any

from amqp import Channel
from amqp.exceptions import PreconditionFailed

from outbox.exceptions import BrokerMismatch

#: A queue that nobody reads drops its oldest messages here, instead of filling the disk: at 1 kB a message, 100 MB.
#: Who needs more history reads the events API, which keeps days.
MAX_MESSAGES = 100_000
#: What could not be routed or was given up is kept to be looked at, not to be worked off.
MAX_STRAYS = 10_000
#: A consumer that dies on a message gets it again so often; then it is a dead letter. RabbitMQ 4's own default.
DELIVERY_LIMIT = 20


@dataclass(frozen=True)
class Exchange:
    name: str
    type: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Queue:
    name: str
    arguments: dict[str, Any]
    #: (exchange, binding key)
    bindings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Topology:
    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]


def topology(events: str) -> Topology:
    """Return what belongs to the topic exchange `events`; its companions share its prefix ("stratavore")."""
    prefix = events.removesuffix(".events")
    unrouted, dead = f"{prefix}.unrouted", f"{prefix}.dead"
    return Topology(
        exchanges=(
            Exchange(unrouted, "fanout"),
            Exchange(dead, "fanout"),
            Exchange(events, "topic", {"alternate-exchange": unrouted}),
        ),
        queues=(
            Queue(f"{prefix}.daemon.events", _readable(dead), ((events, "#"),)),
            Queue(f"{prefix}.metrics", _readable(dead), ((events, "metrics.#"),)),
            Queue(f"{prefix}.alerts", _readable(dead), ((events, "system.alert.#"),)),
            Queue(unrouted, _strays(), ((unrouted, ""),)),
            Queue(dead, _strays(), ((dead, ""),)),
        ),
    )


def declare(channel: Channel, events: str) -> None:
    """Make the exchange `events` and what belongs to it. Raises BrokerMismatch if the broker holds them otherwise."""
    wanted = topology(events)
    for exchange in wanted.exchanges:
        with _told(f"exchange {exchange.name}", exchange.arguments):
            channel.exchange_declare(
                exchange.name, exchange.type, durable=True, auto_delete=False, arguments=exchange.arguments
            )
    for queue in wanted.queues:
        with _told(f"queue {queue.name}", queue.arguments):
            channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments=queue.arguments)
        for source, key in queue.bindings:
            channel.queue_bind(queue.name, source, key)


def _readable(dead: str) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-max-length": MAX_MESSAGES,
        "x-overflow": "drop-head",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": dead,
    }


def _strays() -> dict[str, Any]:
    return {"x-queue-type": "quorum", "x-max-length": MAX_STRAYS, "x-overflow": "drop-head"}


class _told:  # noqa: N801 - reads as a statement
    """Turn the broker's refusal into a sentence that says what to do."""

    def __init__(self, what: str, arguments: dict[str, Any]) -> None:
        self.what, self.arguments = what, arguments

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, PreconditionFailed):
            raise BrokerMismatch(
                f"The {self.what} is on the broker already, but not as outbox/broker.py declares it "
                f"({self.arguments}): {error.reply_text} Delete it on the broker and start again."
            ) from error
