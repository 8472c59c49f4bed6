"""Tasks to Celery's queues."""

import json
from threading import Lock

from outbox import trace
from outbox.envelope import Outgoing
from outbox.exceptions import BrokerUnavailable
from outbox.sinks.celery_broker import CeleryBroker

CONFIRM_TIMEOUT_SECONDS = 10
CONNECT_TIMEOUT_SECONDS = 3

_lock = Lock()
_broker = CeleryBroker(confirm=True, connect_timeout=CONNECT_TIMEOUT_SECONDS, timeout=CONFIRM_TIMEOUT_SECONDS)


def send(task: Outgoing) -> None:
    """Send one task; on RabbitMQ, wait for the broker's confirm.

    Raises BrokerUnavailable, or what is wrong with the task.
    The queue is declared with the message, so that a node's queue exists before its first worker does.
    """
    arguments = json.loads(task.data)["args"]
    with _lock:
        try:
            _send(task, arguments)
        except BrokerUnavailable:
            # The connection may have been lost long ago, unnoticed between two batches: a new one tells.
            _send(task, arguments)


def _send(task: Outgoing, arguments: list[object]) -> None:
    headers = {trace.NAME: task.traceparent} if task.traceparent else {}
    _broker.send(task.type, args=arguments, queue=task.routing_key, task_id=str(task.event_id), headers=headers)
