"""What the event list can be narrowed by."""

import django_filters

from outbox.models import Entry, WebhookDelivery
from outbox.querysets import EntryQuerySet
from outbox.states import DeliveryStatus


class EventFilter(django_filters.FilterSet):  # type: ignore[misc]
    type = django_filters.CharFilter(method="of_type", help_text="An event type, or a family of them: `runner.*`.")
    aggregate = django_filters.CharFilter(help_text="What the events belong to: `runner:<id>`.")

    class Meta:
        model = Entry
        fields = ["type", "aggregate"]

    def of_type(self, entries: EntryQuerySet, name: str, value: str) -> EntryQuerySet:
        family = value.removesuffix("*")
        return entries.filter(type__startswith=family) if family != value else entries.filter(type=value)


class WebhookDeliveryFilter(django_filters.FilterSet):  # type: ignore[misc]
    status = django_filters.ChoiceFilter(choices=DeliveryStatus.choices)
    event_type = django_filters.CharFilter()

    class Meta:
        model = WebhookDelivery
        fields = ["status", "event_type"]
