"""Limits of processes over the wire."""

from typing import Any

from rest_framework import serializers

from runners.api.strict import StrictSerializer
from runners.services.limits import BY_NAME, LARGEST


def _limit(name: str) -> serializers.IntegerField:
    limit = BY_NAME[name]
    return serializers.IntegerField(
        required=False, min_value=limit.minimum, max_value=LARGEST, help_text=limit.help_text
    )


class LimitsSerializer(StrictSerializer):
    """What the processes of a runner may use at most."""

    memory_mb = _limit("memory_mb")
    cpu_seconds = _limit("cpu_seconds")
    wall_seconds = _limit("wall_seconds")
    idle_seconds = _limit("idle_seconds")
    output_mb = _limit("output_mb")
    open_files = _limit("open_files")
    processes = _limit("processes")


class ProjectLimitsSerializer(LimitsSerializer):
    """What each of a project's runners may use at most; null: no limit. Attempts that run keep what they have."""

    def get_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().get_fields()
        for field in fields.values():
            field.allow_null = True
        return fields
