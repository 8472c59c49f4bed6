"""Todos and time entries over the wire."""

from typing import Any

from rest_framework import serializers

from agents.models import TimeEntry, Todo
from agents.states import Priority, TodoStatus
from runners.api.strict import StrictSerializer

MAX_WORD = 60


class TodoSerializer(serializers.ModelSerializer[Todo]):
    agent = serializers.CharField(source="agent.name")
    job_id = serializers.CharField(allow_null=True)
    tags = serializers.ListField(child=serializers.CharField())
    metadata = serializers.DictField()

    class Meta:
        model = Todo
        fields = [
            "id",
            "agent",
            "job_id",
            "title",
            "description",
            "status",
            "priority",
            "tags",
            "metadata",
            "created_at",
            "updated_at",
        ]


class TodoChangeSerializer(StrictSerializer):
    """What of a todo may be changed."""

    title = serializers.CharField(required=False, max_length=200)
    description = serializers.CharField(required=False, allow_blank=True, max_length=20_000)
    status = serializers.ChoiceField(choices=TodoStatus.choices, required=False)
    priority = serializers.ChoiceField(choices=Priority.choices, required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=MAX_WORD), required=False, max_length=50)
    metadata = serializers.DictField(required=False)


class NewTodoSerializer(TodoChangeSerializer):
    agent = serializers.CharField(max_length=60, help_text="Name of the agent.")
    title = serializers.CharField(max_length=200)
    job = serializers.CharField(max_length=40, required=False, help_text="Id of the job it is part of.")


class TimeEntrySerializer(serializers.ModelSerializer[TimeEntry]):
    agent = serializers.CharField(source="agent.name", allow_null=True, default=None)
    person = serializers.CharField(source="person.username", allow_null=True, default=None)
    job_id = serializers.CharField(allow_null=True)
    seconds = serializers.SerializerMethodField(help_text="Worked so far, pauses taken off.")
    pauses = serializers.ListField(
        child=serializers.ListField(child=serializers.DateTimeField()), help_text="Pauses that are over: [start, end]."
    )

    class Meta:
        model = TimeEntry
        fields = [
            "id",
            "agent",
            "person",
            "job_id",
            "description",
            "status",
            "started_at",
            "ended_at",
            "paused_at",
            "paused_seconds",
            "pauses",
            "seconds",
            "notes",
        ]

    def get_seconds(self, entry: TimeEntry) -> float:
        return round(entry.worked_seconds(), 3)


class NewTimeSerializer(StrictSerializer):
    """A clock to start; or hours to enter, where both times are given. Without a worker it is your own time."""

    agent = serializers.CharField(max_length=60, required=False, help_text="Name of an agent.")
    person = serializers.CharField(max_length=150, required=False, help_text="Name of a person.")
    job = serializers.CharField(max_length=40, required=False, help_text="Id of the job.")
    description = serializers.CharField(max_length=500, required=False, allow_blank=True)
    started_at = serializers.DateTimeField(required=False)
    ended_at = serializers.DateTimeField(required=False)

    def validate(self, attrs: Any) -> Any:
        if ("started_at" in attrs) != ("ended_at" in attrs):
            raise serializers.ValidationError({"ended_at": ["Give both times, or none to start a clock."]})
        if attrs.get("agent") and attrs.get("person"):
            raise serializers.ValidationError({"person": ["Time is of an agent or of a person."]})
        return attrs


class StopClockSerializer(StrictSerializer):
    notes = serializers.CharField(required=False, allow_blank=True, max_length=10_000)


class HoursSerializer(serializers.Serializer[Any]):
    """Hours of one day, job or worker."""

    key = serializers.CharField(help_text="A day, the id of a job, or the name of a worker; empty: without a job.")
    hours = serializers.FloatField()
