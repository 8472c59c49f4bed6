"""What a message says."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from outbox import registry
from outbox.envelope import Outgoing
from outbox.models import NotificationItem
from outbox.services.alert import ALERT
from outbox.states import Severity

#: Of more events only the first are told one by one.
TOLD = 10
_LONGEST = 300


def severity_of(event: Outgoing, data: Any) -> Severity:
    """Return how much an event matters: its type's severity; an alert brings its own."""
    if event.type == ALERT:
        return Severity(data["severity"])
    return registry.severity_of(event.type)


def text_of(event: Outgoing, data: Any) -> str:
    """Return an event in one line: runner.failed: demo-1 in shop: exit code 1."""
    if event.type == ALERT:
        words = [data["title"], data["detail"]]
    else:
        who = str(data.get("name") or data.get("title") or event.subject or event.aggregate)
        project = data.get("project")
        words = [event.type, f"{who} in {project}" if project else who, str(data.get("reason") or "")]
    return ": ".join(word for word in words if word)[:_LONGEST]


def message_of(first: Sequence[NotificationItem], kinds: Counter[str]) -> tuple[str, str]:
    """Return title and body for events of these kinds and counts; the `first` of them are told one by one."""
    count = sum(kinds.values())
    if count == 1:
        return first[0].text[:250], f"{first[0].at:%Y-%m-%d %H:%M:%S} UTC"
    counted = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common(5))
    lines = [f"{item.at:%H:%M:%S} {item.text}" for item in first[:TOLD]]
    if count > TOLD:
        lines.append(f"and {count - TOLD:,} more")
    return f"{count:,} events: {counted}"[:250], "\n".join(lines)
