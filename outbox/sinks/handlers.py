"""Events to the functions named in OUTBOX_HANDLERS, and news of the stream to those in OUTBOX_LISTENERS."""

from fnmatch import fnmatchcase

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from outbox.envelope import Outgoing

log = structlog.get_logger(__name__)
_told = 0


def handle(event: Outgoing) -> None:
    """Call each handler of the event's type, in a transaction of its own. Raises what a handler raises.

    A handler may be called again for the same event: after a failure of its own, of a later handler or of the broker.
    """
    for pattern, paths in settings.OUTBOX_HANDLERS.items():
        if fnmatchcase(event.type, pattern):
            for path in paths:
                with transaction.atomic():
                    import_string(path)(event)


def tell_listeners(sequence: int) -> None:
    """Tell the listeners how far the stream reaches, once for each position. Best effort: readers also look."""
    global _told
    if sequence == _told:
        return
    _told = sequence
    for path in settings.OUTBOX_LISTENERS:
        try:
            import_string(path)(sequence)
        except Exception:
            log.exception("outbox_listener_failed", listener=path)
