"""Try again what was given up."""

from django.db import transaction
from django.utils import timezone

from outbox.querysets import EntryQuerySet
from outbox.services.audit import record_act
from outbox.services.wake import wake_after_commit
from outbox.states import Status

#: So many are named in the audit log; of more, the first ones and the count.
NAMED = 100


@transaction.atomic
def retry(entries: EntryQuerySet, *, actor: str) -> int:
    """Give the dead among `entries` a new life, due now, with all their attempts; return how many there were.

    They arrive late: later entries of their aggregates went out meanwhile. `sequence` says where they belong.
    """
    dead = entries.dead()
    events = sample(dead)
    count = dead.update(status=Status.PENDING, attempts=0, next_attempt_at=timezone.now())
    if count:
        after = {"count": count, "events": events}
        record_act("outbox.retry", actor=actor, target_type="outbox", target_id="dead", after=after)
        wake_after_commit()
    return count


def sample(entries: EntryQuerySet) -> list[str]:
    """Return the ids of the first of these events, as the audit log names them."""
    return [str(event_id) for event_id in entries.order_by("id").values_list("event_id", flat=True)[:NAMED]]
