"""Agents over the wire."""

from functools import cached_property
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.figures import AgentFigures
from agents.models import Agent, AgentMove, Assignment, Thought
from agents.services.spawn import MAX_AT_ONCE
from agents.services.suggest import Suggestion
from runners.api.strict import StrictSerializer


class AgentFiguresSerializer(serializers.Serializer[AgentFigures]):
    """What an agent did and used, reckoned from its records. Null is unknown, never 0."""

    completed = serializers.IntegerField(help_text="Jobs it completed.")
    failed = serializers.IntegerField(help_text="Its runs that failed or were lost.")
    success_rate = serializers.FloatField(allow_null=True, help_text="0 to 1; null: none has ended yet.")
    seconds = serializers.FloatField(help_text="Time it worked.")
    tokens = serializers.IntegerField(allow_null=True)
    cost_usd = serializers.DecimalField(
        max_digits=14, decimal_places=8, allow_null=True, help_text="Sum of the known costs; null: none is known."
    )
    cost_complete = serializers.BooleanField(help_text="false: it is at least `cost_usd`.")
    last_thought = serializers.CharField(allow_blank=True)


class AgentSerializer(serializers.ModelSerializer[Agent]):
    personality = serializers.CharField(source="personality.name")
    project = serializers.CharField(source="project.name", allow_null=True, default=None)
    job_id = serializers.SerializerMethodField(help_text="What it works on; null: nothing.")
    runner_id = serializers.SerializerMethodField(help_text="What it works with; null: nothing.")
    figures = serializers.SerializerMethodField()

    class Meta:
        model = Agent
        fields = [
            "name",
            "personality",
            "project",
            "status",
            "status_changed_at",
            "reason",
            "job_id",
            "runner_id",
            "figures",
            "created_at",
        ]

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_job_id(self, agent: Agent) -> str | None:
        current = _current(agent)
        return current.job_id if current else None

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_runner_id(self, agent: Agent) -> str | None:
        current = _current(agent)
        return str(current.runner_id) if current and current.runner_id else None

    @extend_schema_field(AgentFiguresSerializer)
    def get_figures(self, agent: Agent) -> Any:
        return self._figures.to_representation(self.context["figures"][agent.pk])

    @cached_property
    def _figures(self) -> AgentFiguresSerializer:
        return AgentFiguresSerializer()  # made once for all agents of an answer


def _current(agent: Any) -> Assignment | None:
    return agent.current[0] if agent.current else None


class NewAgentSerializer(StrictSerializer):
    personality = serializers.CharField(max_length=40, help_text="Name of the personality.")
    name = serializers.CharField(max_length=60, required=False, help_text="It gets one without: cadet-elite-kagu.")
    project = serializers.CharField(
        max_length=63, required=False, allow_null=True, help_text="Name of the project it works in; null: in any."
    )


class SpawnSerializer(StrictSerializer):
    personality = serializers.CharField(max_length=40, help_text="Name of the personality.")
    count = serializers.IntegerField(min_value=1, max_value=MAX_AT_ONCE)
    project = serializers.CharField(max_length=63, required=False, allow_null=True, help_text="Name of the project.")


class AgentChangeSerializer(StrictSerializer):
    """What of an agent may be changed."""

    project = serializers.CharField(max_length=63, allow_null=True, help_text="Name of the project; null: any.")


class ThoughtSerializer(serializers.ModelSerializer[Thought]):
    class Meta:
        model = Thought
        fields = ["id", "text", "at"]


class NewThoughtSerializer(StrictSerializer):
    text = serializers.CharField(max_length=10_000)


class SuggestionSerializer(serializers.Serializer[Suggestion]):
    """A job that an agent could take, and why."""

    job_id = serializers.CharField(source="job.pk")
    title = serializers.CharField(source="job.title")
    priority = serializers.CharField(source="job.priority")
    score = serializers.FloatField(help_text="3 for a label of its specialties, 1 for a word, 1 for each day of age.")
    matches = serializers.ListField(child=serializers.CharField(), help_text="The words that matched.")


class AgentMoveSerializer(serializers.ModelSerializer[AgentMove]):
    class Meta:
        model = AgentMove
        fields = ["id", "from_status", "to_status", "actor", "reason", "at"]
