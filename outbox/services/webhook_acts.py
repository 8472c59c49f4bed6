"""Acts on webhooks, as the audit log has them."""

from collections.abc import Mapping
from typing import Any

from outbox.models import Webhook
from outbox.services.audit import record_act


def record_webhook_act(
    verb: str,
    webhook: Webhook,
    *,
    actor: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Record webhook.<verb>; in the caller's transaction."""
    record_act(
        f"webhook.{verb}",
        actor=actor,
        target_type="webhook",
        target_id=webhook.pk,
        target_name=webhook.description,
        before=before,
        after=after,
        reason=reason,
    )


def choices(webhook: Webhook) -> dict[str, Any]:
    """Return what a person chose of a webhook; of the URL without its query, where keys are put."""
    names = ("description", "event_types", "projects", "active")
    return {"url": webhook.url.partition("?")[0], **{name: getattr(webhook, name) for name in names}}
