"""Jobs and assignments over the wire."""

from functools import cached_property
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.figures import JobFigures
from agents.models import Assignment, Comment, Deliverable, Job, JobMove
from agents.states import JobStatus, Priority
from runners.api.strict import StrictSerializer
from runners.states import ApprovalMode, OnLimit

MAX_WORD = 60


class JobFiguresSerializer(serializers.Serializer[JobFigures]):
    """What hangs on a job, reckoned from its records."""

    hours = serializers.FloatField(allow_null=True, help_text="Hours worked; null: none is known.")
    dependencies = serializers.IntegerField()
    open_dependencies = serializers.IntegerField()
    deliverables = serializers.IntegerField()
    deliverables_done = serializers.IntegerField()
    comments = serializers.IntegerField()
    failures = serializers.IntegerField(help_text="Runs that failed or were lost.")


class JobSerializer(serializers.ModelSerializer[Job]):
    id = serializers.CharField()
    project = serializers.CharField(source="project.name", allow_null=True, default=None)
    labels = serializers.ListField(child=serializers.CharField())
    wanted_agent = serializers.CharField(source="wanted_agent.name", allow_null=True, default=None)
    wanted_person = serializers.CharField(source="wanted_person.username", allow_null=True, default=None)
    worker = serializers.SerializerMethodField(help_text="Who works on it now; null: nobody.")
    runner_id = serializers.SerializerMethodField(help_text="What its agent works with now; null: nothing.")
    metadata = serializers.DictField()
    figures = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = [
            "id",
            "title",
            "description",
            "project",
            "status",
            "status_changed_at",
            "reason",
            "decision",
            "priority",
            "labels",
            "estimated_hours",
            "wanted_agent",
            "wanted_person",
            "worker",
            "runner_id",
            "worktree",
            "metadata",
            "created_by",
            "created_at",
            "updated_at",
            "ended_at",
            "figures",
        ]

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_worker(self, job: Any) -> str | None:
        return job.current[0].worker if job.current else None

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_runner_id(self, job: Any) -> str | None:
        return str(job.current[0].runner_id) if job.current and job.current[0].runner_id else None

    @extend_schema_field(JobFiguresSerializer)
    def get_figures(self, job: Job) -> Any:
        return self._figures.to_representation(self.context["figures"][job.pk])

    @cached_property
    def _figures(self) -> JobFiguresSerializer:
        return JobFiguresSerializer()  # made once for all jobs of an answer


class DependencySerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    title = serializers.CharField()
    status = serializers.ChoiceField(choices=JobStatus.choices)


class DeliverableSerializer(serializers.ModelSerializer[Deliverable]):
    class Meta:
        model = Deliverable
        fields = ["id", "position", "text", "done_at", "done_by"]


class JobDetailSerializer(JobSerializer):
    """A job with what it needs, what needs it, and what it must bring."""

    dependencies = serializers.SerializerMethodField(help_text="What it waits, or waited, for.")
    dependents = serializers.SerializerMethodField(help_text="What waits, or waited, for it.")
    deliverables = DeliverableSerializer(many=True)

    class Meta(JobSerializer.Meta):
        fields = [*JobSerializer.Meta.fields, "dependencies", "dependents", "deliverables"]

    @extend_schema_field(DependencySerializer(many=True))
    def get_dependencies(self, job: Job) -> Any:
        needed = [edge.needs for edge in job.dependencies.select_related("needs").order_by("needs_id")]
        return DependencySerializer(needed, many=True).data

    @extend_schema_field(DependencySerializer(many=True))
    def get_dependents(self, job: Job) -> Any:
        waiting = [edge.job for edge in job.dependents.select_related("job").order_by("job_id")]
        return DependencySerializer(waiting, many=True).data


class JobChangeSerializer(StrictSerializer):
    """What of a job may be changed."""

    title = serializers.CharField(required=False, max_length=200)
    description = serializers.CharField(required=False, allow_blank=True, max_length=100_000)
    project = serializers.CharField(required=False, allow_null=True, max_length=63, help_text="Name of the project.")
    priority = serializers.ChoiceField(choices=Priority.choices, required=False)
    labels = serializers.ListField(child=serializers.CharField(max_length=MAX_WORD), required=False, max_length=50)
    estimated_hours = serializers.DecimalField(
        max_digits=8, decimal_places=2, required=False, allow_null=True, min_value=0
    )
    wanted_agent = serializers.CharField(
        required=False, allow_null=True, max_length=60, help_text="Name of the only agent that is given the job."
    )
    wanted_person = serializers.CharField(
        required=False, allow_null=True, max_length=150, help_text="Name of a person; then no agent is given the job."
    )
    worktree = serializers.BooleanField(required=False, help_text="Done in a git worktree of its own.")
    metadata = serializers.DictField(required=False)
    deliverables = serializers.ListField(
        child=serializers.CharField(max_length=500),
        required=False,
        max_length=100,
        help_text="What it must bring; marks of texts that stay are kept.",
    )


class NewJobSerializer(JobChangeSerializer):
    title = serializers.CharField(max_length=200)
    dependencies = serializers.ListField(
        child=serializers.CharField(max_length=40), required=False, max_length=500, help_text="Ids of jobs to wait for."
    )


class AssignSerializer(StrictSerializer):
    """An agent, whose runner is launched; or a person."""

    agent = serializers.CharField(max_length=60, required=False, help_text="Name of an idle agent.")
    person = serializers.CharField(max_length=150, required=False, help_text="Name of a person.")
    on_limit = serializers.ChoiceField(
        choices=OnLimit.choices, default=OnLimit.REFUSE, help_text="wait: the runner is queued when there is no place."
    )
    approvals = serializers.ChoiceField(
        choices=ApprovalMode.choices,
        required=False,
        help_text="What an agent's program may not do by itself is denied, or asked for; without it, as its role says.",
    )

    def validate(self, attrs: Any) -> Any:
        if bool(attrs.get("agent")) == bool(attrs.get("person")):
            raise serializers.ValidationError({"agent": ["Name an agent or a person."]})
        return attrs


class NoteSerializer(StrictSerializer):
    note = serializers.CharField(required=False, allow_blank=True, max_length=300)


class DependenciesSerializer(StrictSerializer):
    dependencies = serializers.ListField(
        child=serializers.CharField(max_length=40), min_length=1, max_length=500, help_text="Ids of jobs."
    )


class DoneSerializer(StrictSerializer):
    done = serializers.BooleanField()


class CommentSerializer(serializers.ModelSerializer[Comment]):
    class Meta:
        model = Comment
        fields = ["id", "actor", "text", "at"]


class NewCommentSerializer(StrictSerializer):
    text = serializers.CharField(max_length=20_000)


class JobMoveSerializer(serializers.ModelSerializer[JobMove]):
    class Meta:
        model = JobMove
        fields = ["id", "from_status", "to_status", "actor", "reason", "at"]


class AssignmentSerializer(serializers.ModelSerializer[Assignment]):
    job_id = serializers.CharField()
    agent = serializers.CharField(source="agent.name", allow_null=True, default=None)
    person = serializers.CharField(source="person.username", allow_null=True, default=None)
    runner_id = serializers.UUIDField(allow_null=True)
    personality = serializers.CharField(
        source="personality_version.personality.name", allow_null=True, default=None, help_text="What the agent was."
    )
    personality_version = serializers.IntegerField(
        source="personality_version.version", allow_null=True, default=None, help_text="And at which version."
    )

    class Meta:
        model = Assignment
        fields = [
            "id",
            "job_id",
            "agent",
            "person",
            "runner_id",
            "personality",
            "personality_version",
            "actor",
            "started_at",
            "ended_at",
            "outcome",
            "note",
        ]
