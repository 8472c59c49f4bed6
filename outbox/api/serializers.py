"""Events in JSON, by the names of CloudEvents 1.0."""

from typing import Any

from rest_framework import serializers

from outbox.envelope import SOURCE
from outbox.models import Entry
from outbox.states import Severity


class EventSerializer(serializers.ModelSerializer[Entry]):
    id = serializers.UUIDField(source="event_id", help_text="The same event never has another; drop repeats by it.")
    source = serializers.SerializerMethodField()  # type: ignore[assignment]
    time = serializers.DateTimeField(source="created_at")

    class Meta:
        model = Entry
        fields = ["sequence", "id", "source", "type", "subject", "aggregate", "time", "traceparent", "data"]
        read_only_fields = fields

    def get_source(self, entry: Entry) -> str:
        return SOURCE


class EventTypeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    description = serializers.CharField()
    severity = serializers.ChoiceField(choices=Severity.choices)
    data = serializers.DictField(  # type: ignore[assignment]
        child=serializers.CharField(), help_text="Field to type; a type ending in `?` may be absent or null."
    )
