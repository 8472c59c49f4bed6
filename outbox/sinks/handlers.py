"""Events to the functions named in OUTBOX_HANDLERS and OUTBOX_BATCH_HANDLERS."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from outbox import trace
from outbox.envelope import Outgoing
from outbox.sinks.outcome import Outcome

log = structlog.get_logger(__name__)


def handle(event: Outgoing) -> None:
    """Call each handler of the event's type, in a transaction of its own. Raises what a handler raises.

    A handler may be called again for the same event: after a failure of its own, of a later handler or of the broker.
    """
    for pattern, paths in settings.OUTBOX_HANDLERS.items():
        if fnmatchcase(event.type, pattern):
            for path in paths:
                with transaction.atomic(), trace.following(event.traceparent):
                    import_string(path)(event)


def handle_together(events: Sequence[Outgoing], outcome: Outcome) -> list[Outgoing]:
    """Call each batch handler once with all of `events`; return those that went well.

    If it raises, with one event after the other, to fail only the one to blame. It may see an event again.
    """
    try:
        _call_batch_handlers(events)
    except Exception:
        log.exception("outbox_batch_handler_failed", size=len(events))
        return [event for event in events if event.aggregate not in outcome.held and _alone(event, outcome)]
    return list(events)


def _alone(event: Outgoing, outcome: Outcome) -> bool:
    try:
        _call_batch_handlers([event])
    except Exception as error:
        log.exception("outbox_entry_failed", entry=event.id, type=event.type)
        outcome.fail(event, f"{type(error).__name__}: {error}")
        return False
    return True


def _call_batch_handlers(events: Sequence[Outgoing]) -> None:
    for path in settings.OUTBOX_BATCH_HANDLERS if events else ():
        import_string(path)(events)
