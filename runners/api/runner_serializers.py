"""Runners and their attempts over the wire."""

from functools import cached_property
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runners.api.limits_serializers import LimitsSerializer
from runners.api.strict import StrictSerializer
from runners.api.usage_figures import UNKNOWN, Figures
from runners.api.usage_serializers import UsageSerializer
from runners.models import Attempt, Observation, Runner, RunnerMove
from runners.services.steer import MAX_GRACE_SECONDS


class ObservationSerializer(serializers.ModelSerializer[Observation]):
    """What the node agent last saw of the process."""

    class Meta:
        model = Observation
        fields = [
            "generation",
            "observed_at",
            "cpu_percent",
            "memory_mb",
            "process_count",
            "output_bytes",
            "activity",
            "activity_until",
            "activity_note",
            "activity_at",
        ]


class RunnerSerializer(serializers.ModelSerializer[Runner]):
    """One supervised process. Of its environment only the names are told: values may be secrets."""

    project = serializers.CharField(source="project.name")
    node = serializers.CharField(source="node.name", allow_null=True, default=None)
    session_id = serializers.UUIDField(allow_null=True)
    requested_by = serializers.CharField(source="requested_by.username", allow_null=True, default=None)
    argv = serializers.ListField(child=serializers.CharField())
    flags = serializers.ListField(child=serializers.CharField())
    labels = serializers.ListField(child=serializers.CharField(), help_text="Its node must have all of these.")
    limits = serializers.SerializerMethodField(help_text="Asked for; the project's hold where they are tighter.")
    limits_in_force = serializers.SerializerMethodField(help_text="What its present attempt started with.")
    environment_names = serializers.SerializerMethodField()
    observation = serializers.SerializerMethodField(help_text="null: its present attempt was not seen yet.")
    usage = serializers.SerializerMethodField()

    class Meta:
        model = Runner
        fields = [
            "id",
            "name",
            "project",
            "node",
            "session_id",
            "backend",
            "runtime",
            "image",
            "network",
            "container_user",
            "argv",
            "prompt",
            "model",
            "flags",
            "environment_names",
            "workspace",
            "isolation",
            "worktree_end",
            "conversation_mode",
            "approvals",
            "grace_seconds",
            "labels",
            "limits",
            "limits_in_force",
            "priority",
            "on_limit",
            "restart_policy",
            "max_restarts",
            "restart_at",
            "agent_name",
            "personality_name",
            "requested_by",
            "status",
            "status_changed_at",
            "reason",
            "generation",
            "resumed",
            "created_at",
            "started_at",
            "ended_at",
            "exit_code",
            "exit_signal",
            "pid",
            "observation",
            "usage",
        ]

    @extend_schema_field(LimitsSerializer)
    def get_limits(self, runner: Runner) -> Any:
        return runner.limits

    @extend_schema_field(LimitsSerializer)
    def get_limits_in_force(self, runner: Runner) -> Any:
        return runner.limits_in_force

    def get_environment_names(self, runner: Runner) -> list[str]:
        return sorted(runner.environment)

    @extend_schema_field(ObservationSerializer(allow_null=True))
    def get_observation(self, runner: Runner) -> Any:
        seen: Observation | None = getattr(runner, "observation", None)
        return self._observations.to_representation(seen) if seen and seen.generation == runner.generation else None

    @extend_schema_field(UsageSerializer)
    def get_usage(self, runner: Runner) -> Any:
        figures: dict[Any, Figures] = self.context.get("usage", {})
        return self._usages.to_representation(figures.get(runner.pk, UNKNOWN))

    # Made once for all runners of an answer: making one costs more than what it is made for.
    @cached_property
    def _observations(self) -> ObservationSerializer:
        return ObservationSerializer()

    @cached_property
    def _usages(self) -> UsageSerializer:
        return UsageSerializer()


class StopSerializer(StrictSerializer):
    grace_seconds = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_GRACE_SECONDS,
        help_text="0 kills at once; without: the runner's own.",
    )


class RunnerMoveSerializer(serializers.ModelSerializer[RunnerMove]):
    class Meta:
        model = RunnerMove
        fields = ["id", "generation", "from_status", "to_status", "actor", "reason", "at"]


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One life of a runner. A restart makes the next."""

    node = serializers.CharField(source="node.name", allow_null=True, default=None)
    session_id = serializers.UUIDField(allow_null=True)

    class Meta:
        model = Attempt
        fields = [
            "generation",
            "node",
            "session_id",
            "status",
            "placed_at",
            "started_at",
            "ended_at",
            "exit_code",
            "exit_signal",
            "reason",
            "resumed",
            "fenced_at",
            "refused_records",
        ]


class QueuePlaceSerializer(serializers.Serializer[Any]):
    """Where a runner stands in its project's line."""

    position = serializers.IntegerField(allow_null=True, help_text="From 1; null: it does not wait.")
