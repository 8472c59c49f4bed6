"""What the outbox does in the background."""

from celery import shared_task

from outbox.services.check_audit import check_audit
from outbox.services.collect import collect_due
from outbox.services.relay import relay_in_turn
from outbox.services.retention import purge_delivered, purge_deliveries, purge_notifications
from outbox.services.sample import take_sample
from outbox.services.seal import seal_committed
from outbox.services.send import send_due
from outbox.services.tell import tell_due
from outbox.services.tend import tend as tend_table


@shared_task
def relay() -> None:
    """Deliver what is due."""
    relay_in_turn()


@shared_task
def purge() -> None:
    """Delete delivered entries and the logs of webhooks and notifications, once older than the settings keep them."""
    purge_delivered()
    purge_deliveries()
    purge_notifications()


@shared_task
def tend() -> None:
    """Vacuum the table of entries if much of it is dead."""
    tend_table()


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


@shared_task
def send_notifications() -> None:
    """Make messages of what waits to be told, and send those that are due."""
    collect_due()
    tell_due()


@shared_task
def sample() -> None:
    """Note how the outbox fares."""
    take_sample()
