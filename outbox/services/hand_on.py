"""Hand events on to those who asked to be told: webhooks and notification targets."""

from collections.abc import Sequence

from outbox import prepared, sql
from outbox.envelope import Outgoing
from outbox.services.fan_out import fan_out
from outbox.services.notify import note_events


def hand_on(events: Sequence[Outgoing]) -> None:
    """Note the events for each webhook and target that wants them; a repeat notes none twice.

    Called by the relay before the events count as delivered: none is missed, however often a relay dies.
    """
    ((webhooks, targets),) = prepared.run(sql.WHO_LISTENS, [])
    if webhooks:
        fan_out(events)
    if targets:
        note_events(events)
