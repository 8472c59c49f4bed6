"""Named reads of the outbox."""

from typing import TYPE_CHECKING

from django.db import models

from outbox.states import DeliveryStatus, Kind, Status

if TYPE_CHECKING:
    # Type arguments below.
    from outbox.models import Entry, Webhook, WebhookDelivery  # noqa: F401


class EntryQuerySet(models.QuerySet["Entry"]):
    def events(self) -> "EntryQuerySet":
        return self.filter(kind=Kind.EVENT)

    def pending(self) -> "EntryQuerySet":
        return self.filter(status=Status.PENDING)

    def dead(self) -> "EntryQuerySet":
        return self.filter(status=Status.DEAD)

    def delivered(self) -> "EntryQuerySet":
        return self.filter(status=Status.DELIVERED)

    def after(self, sequence: int) -> "EntryQuerySet":
        """Return the events past a reader's position, oldest first. What has no position yet is not in the stream."""
        return self.events().filter(sequence__gt=sequence).order_by("sequence")


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def active(self) -> "WebhookQuerySet":
        return self.filter(active=True)


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def pending(self) -> "WebhookDeliveryQuerySet":
        return self.filter(status=DeliveryStatus.PENDING)

    def failed(self) -> "WebhookDeliveryQuerySet":
        return self.filter(status=DeliveryStatus.FAILED)

    def settled(self) -> "WebhookDeliveryQuerySet":
        return self.exclude(status=DeliveryStatus.PENDING)
