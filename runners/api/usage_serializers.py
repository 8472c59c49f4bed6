"""Tokens and cost over the wire."""

from typing import Any

from rest_framework import serializers

from runners.models import UsageEntry
from runners.states import CostSource


class UsageSerializer(serializers.Serializer[Any]):
    """Tokens and cost. Null is unknown, never 0."""

    input_tokens = serializers.IntegerField(allow_null=True)
    output_tokens = serializers.IntegerField(allow_null=True)
    cache_read_tokens = serializers.IntegerField(allow_null=True)
    cache_write_tokens = serializers.IntegerField(allow_null=True)
    total_tokens = serializers.IntegerField(allow_null=True)
    cost_usd = serializers.DecimalField(
        max_digits=14,
        decimal_places=8,
        allow_null=True,
        help_text="Sum of the known costs, as a decimal in a string; null: none is known.",
    )
    cost_source = serializers.ChoiceField(
        choices=CostSource.choices, help_text="unknown beside a cost: that is at least what it cost."
    )


class UsageEntrySerializer(serializers.ModelSerializer[UsageEntry]):
    session_id = serializers.UUIDField()
    runner_id = serializers.UUIDField()

    class Meta:
        model = UsageEntry
        fields = [
            "id",
            "session_id",
            "runner_id",
            "model",
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "cost_usd",
            "source",
            "settled_by",
            "at",
        ]
