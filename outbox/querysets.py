"""Named reads of the outbox."""

from typing import TYPE_CHECKING

from django.db import models

from outbox.states import Kind, Status

if TYPE_CHECKING:
    from outbox.models import Entry  # noqa: F401 - the type argument below


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
