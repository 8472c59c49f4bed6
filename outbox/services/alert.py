"""Tell people that something needs them."""

from outbox.models import Entry
from outbox.registry import register
from outbox.services.publish import publish
from outbox.states import Severity

ALERT = "system.alert"


def register_alert() -> None:
    """Tell the registry; called once, when the app is ready."""
    register(
        ALERT,
        description="Something needs a person's eyes; how much, `severity` tells: info, warning or critical.",
        data={"severity": "string", "title": "string", "detail": "string", "about": "string", "project": "string?"},
        severity=Severity.WARNING,
    )


def alert(severity: Severity, title: str, detail: str = "", *, about: str = "", project: str | None = None) -> Entry:
    """Publish an alert, in the caller's transaction: who has a rule for it is notified.

    `about` names what it is about, as an aggregate does (runner:<id>); alerts about the same keep their order.
    """
    return publish(
        ALERT,
        aggregate=about or "system",
        subject=about.partition(":")[2],
        routing_key=f"{ALERT}.{severity.value}",
        data={"severity": severity.value, "title": title, "detail": detail, "about": about, "project": project},
    )
