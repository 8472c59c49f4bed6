"""Projects and nodes over the wire."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runners.api.limits_serializers import ProjectLimitsSerializer
from runners.api.strict import StrictSerializer
from runners.models import Node, Project, ResourceQuota
from runners.services.labels import MAX_WORD
from runners.services.limits import BY_NAME
from runners.states import Isolation, WorktreeEnd


class ProjectSerializer(serializers.ModelSerializer[Project]):
    max_concurrent_runners = serializers.SerializerMethodField(help_text="How many runners it may have at once.")
    limits = serializers.SerializerMethodField(help_text="Of each of its runners.")
    runner_count = serializers.IntegerField(help_text="All its runners, ended ones too.")
    active_runner_count = serializers.IntegerField(help_text="Those that count against the quota.")
    tags = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Project
        fields = [
            "name",
            "path",
            "description",
            "status",
            "tags",
            "isolation",
            "worktree_end",
            "transcript_days",
            "max_concurrent_runners",
            "limits",
            "runner_count",
            "active_runner_count",
            "created_at",
            "last_launch_at",
            "archived_at",
        ]

    def get_max_concurrent_runners(self, project: Project) -> int:
        quota: ResourceQuota | None = getattr(project, "quota", None)
        return quota.max_concurrent_runners if quota else ResourceQuota.DEFAULT_MAX_CONCURRENT_RUNNERS

    @extend_schema_field(ProjectLimitsSerializer)
    def get_limits(self, project: Project) -> dict[str, int | None]:
        quota: ResourceQuota | None = getattr(project, "quota", None)
        return {name: getattr(quota, name, None) for name in BY_NAME}


class ProjectChangeSerializer(StrictSerializer):
    """What of a project may be changed."""

    description = serializers.CharField(required=False, allow_blank=True, max_length=10_000)
    tags = serializers.ListField(child=serializers.CharField(max_length=MAX_WORD), required=False, max_length=50)
    max_concurrent_runners = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=100_000, help_text="null: the default number."
    )
    limits = ProjectLimitsSerializer(required=False, help_text="Those that are given are changed.")
    isolation = serializers.ChoiceField(
        choices=Isolation.choices, required=False, help_text="Of launches that do not choose."
    )
    worktree_end = serializers.ChoiceField(
        choices=WorktreeEnd.choices, required=False, help_text="Of launches that do not choose."
    )
    transcript_days = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=36_500, help_text="null: recordings are kept."
    )


class NewProjectSerializer(ProjectChangeSerializer):
    name = serializers.CharField(max_length=63, help_text="Letters, digits, hyphens and underscores.")
    path = serializers.CharField(max_length=1024, help_text="Absolute directory below an allowed workspace root.")


class VersionSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    record = serializers.ChoiceField(choices=["project", "quota"])
    change = serializers.ChoiceField(choices=["insert", "update", "delete"])
    values = serializers.DictField(help_text="The record after the change; before it, where it was deleted.")
    actor = serializers.CharField(
        source="act.actor", default=None, allow_null=True, help_text="null: the change went past the services."
    )
    action = serializers.CharField(source="act.action", default=None, allow_null=True)


class NodeSerializer(serializers.ModelSerializer[Node]):
    engine = serializers.DictField(
        child=serializers.CharField(), help_text="Of containers: name, version, rootless; empty: it has none."
    )
    control_group = serializers.DictField(
        help_text="Of its runners, by cgroup v2: path, controllers, kill; empty: it has none, and the shim measures."
    )
    labels = serializers.ListField(child=serializers.CharField())
    occupied = serializers.IntegerField(help_text="Slots taken.")

    class Meta:
        model = Node
        fields = [
            "name",
            "hostname",
            "version",
            "labels",
            "slots",
            "occupied",
            "programs",
            "engine",
            "control_group",
            "status",
            "registered_at",
            "last_seen_at",
        ]
