"""The relay of a worker that serves the queue of wake-ups: a thread beside its tasks, instead of a task for each."""

import threading
from typing import Any

from celery.signals import celeryd_after_setup, worker_ready, worker_shutdown, worker_shutting_down

#: What a worker that ends waits for: the batch on its way. Killed before, it goes out again.
FAREWELL_SECONDS = 5.0

_stop = threading.Event()
_thread: threading.Thread | None = None


@celeryd_after_setup.connect
def take_wakes_from_celery(instance: Any, **_: Any) -> None:
    """Let the thread hear the wake-ups, where this worker was asked to serve them."""
    # The application is made before Django is ready.
    from outbox.services.resident import stay
    from outbox.sinks.wakes import Wakes
    from stratavore_site.broker import WAKE_QUEUE

    global _thread
    queues = instance.app.amqp.queues
    if WAKE_QUEUE in queues.consume_from:
        queues.deselect(WAKE_QUEUE)
        _thread = threading.Thread(target=stay, args=[Wakes(WAKE_QUEUE), _stop], name="relay", daemon=True)


@worker_ready.connect
def begin(**_: Any) -> None:
    if _thread is not None and _thread.ident is None:
        _thread.start()


@worker_shutting_down.connect
def end(**_: Any) -> None:
    """Ask the relay to end. From a signal handler: nothing here waits."""
    _stop.set()


@worker_shutdown.connect
def wait_for_the_batch(**_: Any) -> None:
    """Let the batch on its way be marked: else it would go out again."""
    if _thread is not None and _thread.is_alive():
        _thread.join(FAREWELL_SECONDS)
