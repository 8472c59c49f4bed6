"""The events of providers' limits. The only place that spells them."""

from typing import TYPE_CHECKING

from outbox.registry import register
from outbox.services import publish
from outbox.states import Severity

if TYPE_CHECKING:
    from runners.models import ProviderLimit, Runner

REACHED = "limit.reached"
CLEARED = "limit.cleared"
_DATA = {"limit_id": "integer", "label": "string", "until": "time", "is_told": "boolean", "reason": "string"}


def register_types() -> None:
    """Tell the outbox which events there are; called once, when the app is ready."""
    register(
        REACHED,
        description="A provider takes no more from an account until a time: runs of it wait.",
        data={**_DATA, "runner_id": "uuid", "name": "string", "project": "string"},
        severity=Severity.WARNING,
    )
    register(CLEARED, description="Somebody ended a provider's limit by hand.", data={**_DATA, "actor": "string"})


def limit_reached(limit: "ProviderLimit", runner: "Runner") -> None:
    """Publish that `runner` was told to wait."""
    about = {"runner_id": str(runner.pk), "name": runner.name, "project": runner.project.name}
    _publish(REACHED, limit, reason=f"{limit.label} until {limit.until:%Y-%m-%d %H:%M:%S} UTC", **about)


def limit_cleared(limit: "ProviderLimit", *, actor: str) -> None:
    """Publish that it holds nobody any more."""
    _publish(CLEARED, limit, reason="", actor=actor)


def _publish(event_type: str, limit: "ProviderLimit", **more: str) -> None:
    publish(
        event_type,
        aggregate=limit.aggregate,
        subject=str(limit.pk),
        routing_key=event_type,
        data={
            "limit_id": limit.pk,
            "label": limit.label,
            "until": limit.until.isoformat(),
            "is_told": limit.is_told,
            **more,
        },
    )
