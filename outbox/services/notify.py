"""Note what each target must be told."""

from collections.abc import Iterable, Sequence
from typing import Any

from outbox.envelope import Outgoing
from outbox.models import NotificationItem, NotificationRule, NotificationTarget
from outbox.notifications.words import severity_of, text_of
from outbox.patterns import wants
from outbox.states import Severity


def note_events(events: Sequence[Outgoing]) -> None:
    """Write an item for each event and target whose rules want it; a repeat writes none.

    Called by the relay before the events count as delivered: none is missed, however often a relay dies.
    """
    targets = list(NotificationTarget.objects.filter(active=True).prefetch_related("rules"))
    items = [item for event in events for item in _items(event, targets)]
    NotificationItem.objects.bulk_create(items, ignore_conflicts=True)


def _items(event: Outgoing, targets: Iterable[NotificationTarget]) -> Iterable[NotificationItem]:
    data = event.payload
    severity = severity_of(event, data)
    for target in targets:
        if any(_fits(rule, event, severity, data) for rule in target.rules.all()):
            yield NotificationItem(
                target=target,
                event_id=event.event_id,
                event_type=event.type,
                severity=severity,
                text=text_of(event, data),
                at=event.created_at,
            )


def _fits(rule: NotificationRule, event: Outgoing, severity: Severity, data: Any) -> bool:
    loud_enough = severity.rank >= Severity(rule.severity).rank
    return loud_enough and wants(rule.event_types, rule.projects, type=event.type, data=data)
