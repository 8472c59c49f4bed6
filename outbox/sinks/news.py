"""News of the stream to the functions named in OUTBOX_LISTENERS.

By a thread: delivery does not wait until they have heard.
"""

import os
import threading
import time

import structlog
from django.conf import settings
from django.utils.module_loading import import_string

#: The least time between two pieces of news: whoever listens draws four times a second, or reads pages of the stream.
GAP_SECONDS = 0.01

log = structlog.get_logger(__name__)
_starting = threading.Lock()
_teller: "_Teller | None" = None


def tell(sequence: int) -> None:
    """Have the listeners told how far the stream reaches, once for each position. Best effort: readers also look."""
    global _teller
    if not settings.OUTBOX_LISTENERS:
        return
    with _starting:
        if _teller is None or _teller.pid != os.getpid():
            _teller = _Teller()
    _teller.tell(sequence)


class _Teller:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self._reached = 0
        self._wanted = threading.Event()
        threading.Thread(target=self._run, name="news of the stream", daemon=True).start()

    def tell(self, sequence: int) -> None:
        if sequence != self._reached:
            self._reached = sequence
            self._wanted.set()

    def _run(self) -> None:
        while self._wanted.wait():
            self._wanted.clear()
            reached = self._reached
            for path in settings.OUTBOX_LISTENERS:
                try:
                    import_string(path)(reached)
                except Exception:
                    log.exception("outbox_listener_failed", listener=path)
            time.sleep(GAP_SECONDS)
