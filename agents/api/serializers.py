"""What goes over the wire."""

from rest_framework import serializers

from agents.models import Agent, Personality
from runners.api.strict import StrictSerializer

MAX_WORD = 60


class PersonalitySerializer(serializers.ModelSerializer[Personality]):
    strengths = serializers.ListField(child=serializers.CharField())
    specialties = serializers.ListField(child=serializers.CharField())
    flags = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Personality
        fields = [
            "name",
            "description",
            "strengths",
            "specialties",
            "work_style",
            "communication_style",
            "role_prompt",
            "default_backend",
            "model",
            "flags",
            "version",
            "updated_at",
        ]


class PersonalityChangeSerializer(StrictSerializer):
    """What of a personality may be changed; its name stays."""

    description = serializers.CharField(required=False, max_length=10_000)
    strengths = serializers.ListField(child=serializers.CharField(max_length=MAX_WORD), required=False, max_length=30)
    specialties = serializers.ListField(child=serializers.CharField(max_length=MAX_WORD), required=False, max_length=30)
    work_style = serializers.CharField(required=False, allow_blank=True, max_length=200)
    communication_style = serializers.CharField(required=False, allow_blank=True, max_length=200)
    role_prompt = serializers.CharField(required=False, allow_blank=True, max_length=100_000)
    default_backend = serializers.CharField(required=False, max_length=40)
    model = serializers.CharField(required=False, allow_blank=True, max_length=100)
    flags = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False, max_length=200)


class NewPersonalitySerializer(PersonalityChangeSerializer):
    name = serializers.CharField(max_length=40, help_text="Letters, digits, hyphens and underscores.")
    description = serializers.CharField(max_length=10_000)


class AgentSerializer(serializers.ModelSerializer[Agent]):
    personality = serializers.CharField(source="personality.name")
    project = serializers.CharField(source="project.name", allow_null=True, default=None)
    runner_id = serializers.UUIDField(allow_null=True)

    class Meta:
        model = Agent
        fields = ["name", "personality", "project", "runner_id", "status", "status_changed_at", "created_at"]


class NewAgentSerializer(StrictSerializer):
    personality = serializers.CharField(max_length=40, help_text="Name of the personality.")
    name = serializers.CharField(max_length=60, required=False, help_text="It gets one without: cadet-3f9c12.")
    project = serializers.CharField(max_length=63, required=False, allow_null=True, help_text="Name of the project.")
