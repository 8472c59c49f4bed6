"""What the outbox does in the background."""

from celery import shared_task

from outbox.services.relay import relay_in_turn
from outbox.services.retention import purge_delivered
from outbox.services.seal import seal_committed


@shared_task
def relay() -> None:
    """Deliver what is due."""
    relay_in_turn()


@shared_task
def purge() -> None:
    """Delete delivered entries that are older than OUTBOX_RETENTION_DAYS."""
    purge_delivered()


@shared_task
def seal_audit(everything: bool = False) -> None:
    """Give committed acts their place in the chain."""
    seal_committed(everything=everything)
