"""The events about webhooks themselves."""

from outbox.registry import register

PING = "webhook.ping"
DISABLED = "webhook.disabled"


def register_types() -> None:
    """Tell the registry; called once, when the app is ready."""
    about = {"webhook_id": "uuid", "description": "string", "host": "string", "actor": "string"}
    register(PING, description="Somebody tries out a webhook; it goes to that one only.", data=about)
    register(
        DISABLED,
        description="A webhook was switched off: by its own answer 410, or after failing for too long.",
        data={**about, "reason": "string"},
    )
