"""Operations over the wire."""

from typing import Any

from rest_framework import serializers

from runners.api.strict import StrictSerializer
from runners.models import Operation, OperationItem


class VerbSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # Field has a label of its own, which is none here
    items = serializers.CharField(help_text="What it is done to.")
    permission = serializers.CharField()
    parameters = serializers.ListField(child=serializers.CharField())


class AskSerializer(StrictSerializer):
    """What to do, and to what. A filter of {} is everything there is, so it must be said."""

    verb = serializers.CharField(max_length=60, help_text="As in runner.stop; `verbs/` lists them.")
    filter = serializers.DictField(
        help_text="For runners: ids, status, open, project, node, backend, session, created_after, created_before, "
        "search."
    )
    parameters = serializers.DictField(required=False, help_text="For runner.stop: grace_seconds.")


class BeginSerializer(AskSerializer):
    at_most = serializers.IntegerField(
        required=False, min_value=0, help_text="The count of a preview: if more match by now, nothing begins."
    )


class ExemptSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    reason = serializers.CharField()


class PreviewSerializer(serializers.Serializer[Any]):
    verb = serializers.CharField(source="verb.name")
    count = serializers.IntegerField(help_text="How many match.")
    would_do = serializers.IntegerField()
    exception_count = serializers.IntegerField(help_text="How many of them would be skipped.")
    exceptions = ExemptSerializer(many=True, help_text="The first hundred, each with its reason.")


class OperationSerializer(serializers.ModelSerializer[Operation]):
    filter = serializers.DictField()
    parameters = serializers.DictField()

    class Meta:
        model = Operation
        fields = [
            "id", "verb", "filter", "parameters", "actor", "status", "total", "done", "failed", "skipped", "created_at",
            "started_at", "ended_at", "cancelled_by",
        ]  # fmt: skip


class OperationItemSerializer(serializers.ModelSerializer[OperationItem]):
    class Meta:
        model = OperationItem
        fields = ["target_id", "name", "result", "message", "at"]
