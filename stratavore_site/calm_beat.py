"""The beat's scheduler: Celery's, but it bears a broker that is away.

Celery's own tells of each task that it cannot send with a page of traces, some eight a second of them here: half a
processor, and 300 MB of log in an hour.
"""

import random
import time
from typing import Any

import structlog
from celery.beat import PersistentScheduler, SchedulingError

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 15.0

log = structlog.get_logger(__name__)


class CalmScheduler(PersistentScheduler):
    """Sends what is due. While that fails it is said in one line, and tried again after longer and longer pauses.

    What fell due meanwhile is sent when the broker is back, each task once: the next turn of an hourly one is far.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._due: dict[str, Any] = {}
        self._pause, self._rests_until = 0.0, 0.0
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send a task, with what has waited."""
        self._due[entry.name] = entry
        if time.monotonic() < self._rests_until:
            return
        for name, waiting in list(self._due.items()):
            try:
                self.apply_async(waiting, producer=producer, advance=False)
            except SchedulingError as error:
                self._rest(waiting, error)
                return
            del self._due[name]
            self._pause = 0.0

    def _rest(self, entry: Any, error: SchedulingError) -> None:
        # Should it be this task alone that cannot be sent, the others come first the next time.
        self._due[entry.name] = self._due.pop(entry.name)
        self._pause = min(max(FIRST_PAUSE_SECONDS, 2 * self._pause), LONGEST_PAUSE_SECONDS)
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        self._rests_until = time.monotonic() + pause
        log.warning("beat_not_heard", task=entry.task, error=str(error), retry_seconds=round(pause, 1))
