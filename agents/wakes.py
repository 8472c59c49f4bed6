"""Wake the dispatcher: by a task in the outbox, so that it runs if and only if the change that calls for it commits."""

from agents.models import DispatchSettings
from outbox.services import enqueue

DISPATCH_TASK = "agents.tasks.dispatch"
CONTROL_QUEUE = "stratavore.control"


def dispatch_soon() -> None:
    """Have work given out as soon as this transaction has committed; nothing where no project wants it."""
    if DispatchSettings.objects.filter(enabled=True).exists():
        enqueue(DISPATCH_TASK, args=[], queue=CONTROL_QUEUE, aggregate="agents.dispatch")
