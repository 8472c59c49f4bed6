"""What the outbox does in the background."""

from celery import shared_task

from outbox.services.check_audit import check_audit
from outbox.services.relay import relay_in_turn
from outbox.services.retention import purge_delivered, purge_deliveries
from outbox.services.seal import seal_committed
from outbox.services.send import send_due


@shared_task
def relay() -> None:
    """Deliver what is due."""
    relay_in_turn()


@shared_task
def purge() -> None:
    """Delete delivered entries and the webhooks' log, once older than the settings keep them."""
    purge_delivered()
    purge_deliveries()


@shared_task
def seal_audit(everything: bool = False) -> None:
    """Give committed acts their place in the chain."""
    seal_committed(everything=everything)


@shared_task
def send_webhooks() -> None:
    """Send what webhooks wait for."""
    send_due()


@shared_task
def verify_audit(everything: bool = False) -> None:
    """Look whether the audit log is what was written."""
    check_audit(everything=everything)
