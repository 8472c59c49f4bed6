"""What goes over the wire."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from runners.api.examples import LAUNCH_EXAMPLES
from runners.api.strict import StrictSerializer
from runners.api.transcripts import RedactionSerializer
from runners.api.usage_figures import UNKNOWN, Figures, usage_of_session
from runners.backends.base import LaunchRequest
from runners.models import (
    Attempt,
    Message,
    Node,
    Observation,
    Project,
    ResourceQuota,
    Runner,
    RunnerMove,
    Session,
    UsageEntry,
)
from runners.services.labels import MAX_LABELS
from runners.services.limits import BY_NAME, LARGEST
from runners.services.steer import MAX_GRACE_SECONDS
from runners.states import ApprovalMode, ConversationMode, CostSource, Isolation, OnLimit, RestartPolicy, WorktreeEnd


def _limit(name: str) -> serializers.IntegerField:
    limit = BY_NAME[name]
    return serializers.IntegerField(
        required=False, min_value=limit.minimum, max_value=LARGEST, help_text=limit.help_text
    )


#: How deep a tag or label may be: a word.
MAX_WORD = 60


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
        return ObservationSerializer(seen).data if seen and seen.generation == runner.generation else None

    @extend_schema_field(UsageSerializer)
    def get_usage(self, runner: Runner) -> Any:
        figures: dict[Any, Figures] = self.context.get("usage", {})
        return UsageSerializer(figures.get(runner.pk, UNKNOWN)).data


@extend_schema_serializer(examples=LAUNCH_EXAMPLES)
class LaunchSerializer(StrictSerializer):
    """What to launch. What a backend cannot do with it is refused with 422."""

    project = serializers.CharField(max_length=63, help_text="Name of the project.")
    backend = serializers.CharField(max_length=40, help_text="Name of a backend: RUNNER_BACKENDS has them.")
    name = serializers.CharField(max_length=80, required=False, help_text="For people; it gets one without.")
    argv = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False, allow_blank=True),
        required=False,
        max_length=1000,
        help_text="The command, for the backend `command`.",
    )
    prompt = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    model = serializers.CharField(max_length=100, required=False, allow_blank=True)
    flags = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False),
        required=False,
        max_length=200,
        help_text="Extra flags for the program, each allowed by its backend.",
    )
    environment = serializers.DictField(
        child=serializers.CharField(trim_whitespace=False, allow_blank=True), required=False
    )
    workspace = serializers.CharField(
        max_length=1024,
        required=False,
        allow_blank=True,
        help_text="Directory below the project's own; it is the default.",
    )
    isolation = serializers.ChoiceField(
        choices=Isolation.choices, required=False, help_text="Without: as the project says."
    )
    worktree_end = serializers.ChoiceField(
        choices=WorktreeEnd.choices,
        required=False,
        help_text="What becomes of the worktree at the runner's end. Without: as the project says.",
    )
    runtime = serializers.CharField(
        max_length=20, required=False, help_text="process, as without it, or container: then an image is needed."
    )
    image = serializers.CharField(
        max_length=300, required=False, allow_blank=True, help_text="Of those that the settings allow."
    )
    network = serializers.CharField(
        max_length=64, required=False, allow_blank=True, help_text="none, as without it, or one the settings allow."
    )
    container_user = serializers.CharField(
        max_length=40,
        required=False,
        allow_blank=True,
        help_text="uid or uid:gid, of those the settings allow; without: the owner of the workspace.",
    )
    conversation_mode = serializers.ChoiceField(choices=ConversationMode.choices, required=False)
    session_id = serializers.UUIDField(required=False, help_text="The session to go on with.")
    approvals = serializers.ChoiceField(
        choices=ApprovalMode.choices,
        required=False,
        help_text="What its program may not do by itself is denied (as without it), or asked for: see /approvals/.",
    )
    at_message = serializers.IntegerField(
        required=False, min_value=1, help_text="The last of its messages to go on from; what follows stays as it is."
    )
    grace_seconds = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_GRACE_SECONDS,
        help_text="From SIGINT to SIGKILL; without: the backend's.",
    )
    labels = serializers.ListField(
        child=serializers.CharField(max_length=MAX_WORD),
        required=False,
        max_length=MAX_LABELS,
        help_text="It goes to a node that has all of these, and of such to the one with the most free slots.",
    )
    limits = LimitsSerializer(required=False, help_text="None may be looser than the project's.")
    on_limit = serializers.ChoiceField(
        choices=OnLimit.choices,
        required=False,
        help_text="Where quota or nodes are full: refuse (as without it), or wait: the runner is `queued`.",
    )
    priority = serializers.IntegerField(
        required=False,
        min_value=-100,
        max_value=100,
        help_text="Of two that wait in a project, the higher starts first.",
    )
    restart_policy = serializers.ChoiceField(choices=RestartPolicy.choices, required=False)
    max_restarts = serializers.IntegerField(
        required=False, min_value=0, max_value=1000, help_text="Within ten minutes; then it stays ended."
    )

    def launch_request(self) -> LaunchRequest:
        """Return the valid data as the service takes it."""
        return launch_request(self.validated_data)


def launch_request(valid: Mapping[str, Any]) -> LaunchRequest:
    """Return a launch's valid data as the service takes it."""
    data = {name: value for name, value in valid.items() if name != "project"}
    if "session_id" in data:
        data["session_id"] = str(data["session_id"])
    return LaunchRequest(**data)


class GoOnSerializer(StrictSerializer):
    """What to say to an earlier session. What is not given is as its last runner had it."""

    prompt = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    at_message = serializers.IntegerField(
        required=False,
        min_value=1,
        help_text=(
            "The last message to go on from, with the results of the tools that it calls; of a user's prompt it is the "
            "message before. Without: the end."
        ),
    )
    name = serializers.CharField(max_length=80, required=False)
    model = serializers.CharField(max_length=100, required=False, allow_blank=True)
    flags = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False, max_length=200)
    labels = serializers.ListField(
        child=serializers.CharField(max_length=MAX_WORD), required=False, max_length=MAX_LABELS
    )
    grace_seconds = serializers.IntegerField(required=False, min_value=0, max_value=MAX_GRACE_SECONDS)
    on_limit = serializers.ChoiceField(
        choices=OnLimit.choices, required=False, help_text="wait: for a slot of the node that has the conversation."
    )


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


class SessionSerializer(serializers.ModelSerializer[Session]):
    project = serializers.CharField(source="project.name")
    resumed_from = serializers.UUIDField(
        source="resumed_from_id", allow_null=True, help_text="The session of which it is a fork, or was rebuilt."
    )
    forked_at = serializers.IntegerField(
        source="forked_at_id", allow_null=True, help_text="The last message of that session which it knows; null: all."
    )
    runner_ids = serializers.SerializerMethodField(help_text="Its runners, oldest first.")
    usage = serializers.SerializerMethodField()
    redactions = serializers.SerializerMethodField(help_text="Secrets that were masked, by rule.")

    class Meta:
        model = Session
        fields = [
            "id",
            "project",
            "backend",
            "external_id",
            "title",
            "began",
            "resumed_from",
            "forked_at",
            "rebuilt_because",
            "runner_ids",
            "started_at",
            "last_message_at",
            "ended_at",
            "message_count",
            "usage",
            "redactions",
        ]

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_runner_ids(self, session: Session) -> list[str]:
        return [str(runner.pk) for runner in session.runners.all()]

    @extend_schema_field(UsageSerializer)
    def get_usage(self, session: Session) -> Any:
        return UsageSerializer(usage_of_session(session)).data

    @extend_schema_field(RedactionSerializer(many=True))
    def get_redactions(self, session: Session) -> Any:
        counts = self.context.get("redactions", {}).get(session.pk, [])
        return RedactionSerializer(counts, many=True).data


class AnswerTokensSerializer(serializers.Serializer[Any]):
    """What one answer of a model used."""

    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()


class MessageSerializer(serializers.ModelSerializer[Message]):
    runner_id = serializers.UUIDField(allow_null=True)
    answer_tokens = serializers.SerializerMethodField(
        help_text="Of the model's answer to which it belongs, the same for all its messages; null: nobody can say."
    )
    more_characters = serializers.IntegerField(
        help_text="Left out of `text` and `tool_input`, which hold 200,000; `messages/<id>/` has the whole."
    )

    class Meta:
        model = Message
        fields = [
            "id",
            "runner_id",
            "role",
            "text",
            "tool_name",
            "tool_input",
            "more_characters",
            "call_id",
            "is_error",
            "at",
            "answer_tokens",
        ]

    @extend_schema_field(AnswerTokensSerializer(allow_null=True))
    def get_answer_tokens(self, message: Message) -> Any:
        return self.context.get("answer_tokens", {}).get(message.pk)


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


class VersionSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    record = serializers.ChoiceField(choices=["project", "quota"])
    change = serializers.ChoiceField(choices=["insert", "update", "delete"])
    values = serializers.DictField(help_text="The record after the change; before it, where it was deleted.")
    actor = serializers.CharField(
        source="act.actor", default=None, allow_null=True, help_text="null: the change went past the services."
    )
    action = serializers.CharField(source="act.action", default=None, allow_null=True)
