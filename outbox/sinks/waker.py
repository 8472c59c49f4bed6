"""The threads that send wake-ups by Celery's broker: to the relay, and to whoever sends webhooks."""

import atexit
import os
import threading
import time

import structlog
from celery import current_app

from outbox.exceptions import BrokerUnavailable
from outbox.sinks.celery_broker import CeleryBroker, speaks_amqp

RELAY_TASK = "outbox.tasks.relay"
SEND_TASK = "outbox.tasks.send_webhooks"
#: The least time between two wake-ups of one process. A relay that was woken looks by itself for longer.
GAP_SECONDS = 0.05
#: After a failure the broker is left alone for so long; the beat's own wake-ups come as often.
REST_SECONDS = 1.0
CONNECT_TIMEOUT_SECONDS = 0.5
SEND_TIMEOUT_SECONDS = 1.0
#: What a process that ends waits for its last wake-up to leave.
FAREWELL_SECONDS = 0.5
#: A wake-up that no relay took by then is good for nothing.
EXPIRES_SECONDS = 60

log = structlog.get_logger(__name__)
_starting = threading.Lock()
_wakers: dict[str, "Waker"] = {}


def ask(task: str = RELAY_TASK) -> None:
    """Have one wake-up sent soon; several askers within GAP_SECONDS share it. Never waits, never raises."""
    waker = _wakers.get(task)
    if waker is None or waker.pid != os.getpid():
        with _starting:
            waker = _wakers.get(task)
            if waker is None or waker.pid != os.getpid():
                waker = _wakers[task] = Waker(task)
    waker.wanted.set()


class Waker:
    """The thread of one process that sends wake-ups for one task, without confirms: a lost one costs a second."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.pid = os.getpid()
        self.wanted = threading.Event()
        self.quiet = threading.Event()
        self._broker = CeleryBroker(
            confirm=False, connect_timeout=CONNECT_TIMEOUT_SECONDS, timeout=SEND_TIMEOUT_SECONDS
        )
        threading.Thread(target=self._run, name=f"wake-ups for {task}", daemon=True).start()
        atexit.register(self.quiet.wait, FAREWELL_SECONDS)

    def _run(self) -> None:
        self.quiet.set()
        while self.wanted.wait():
            self.quiet.clear()
            self.wanted.clear()
            rest = self._send()
            if not self.wanted.is_set():
                self.quiet.set()
            time.sleep(rest)

    def _send(self) -> float:
        """Send a wake-up; return how long to rest."""
        try:
            if not self._one_waits():
                self._tell()
        except BrokerUnavailable as error:
            log.info("outbox_wake_failed", error=str(error))
            return REST_SECONDS
        except Exception:
            # Without this thread every event of the process would wait for the beat.
            log.exception("outbox_wake_failed")
            return REST_SECONDS
        return GAP_SECONDS

    def _tell(self) -> None:
        if self.task == RELAY_TASK:
            # Its listener (sinks/wakes.py) takes anything for a wake-up.
            self._broker.nudge(_queue(self.task), expires=EXPIRES_SECONDS)
        else:
            self._broker.send(self.task, expires=EXPIRES_SECONDS)

    def _one_waits(self) -> bool:
        """Return whether a wake-up waits already. RabbitMQ knows by itself: its queue holds one (x-max-length)."""
        return not speaks_amqp() and self._broker.waiting(_queue(self.task)) > 0


def _queue(task: str) -> str:
    return str(current_app.amqp.router.route({}, task)["queue"].name)
