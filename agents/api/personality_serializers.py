"""Personalities over the wire."""

from rest_framework import serializers

from agents.models import Personality, PersonalityVersion
from runners.api.limits_serializers import LimitsSerializer
from runners.api.strict import StrictSerializer
from runners.states import ApprovalMode

MAX_WORD = 60


class PersonalitySerializer(serializers.ModelSerializer[Personality]):
    strengths = serializers.ListField(child=serializers.CharField())
    specialties = serializers.ListField(child=serializers.CharField())
    flags = serializers.ListField(child=serializers.CharField())
    argv = serializers.ListField(child=serializers.CharField())
    limits = serializers.DictField(child=serializers.IntegerField(), help_text="What its runs may use at most.")

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
            "argv",
            "max_minutes",
            "limits",
            "max_restarts",
            "grace_seconds",
            "approvals",
            "version",
            "updated_at",
        ]


class PersonalityVersionSerializer(serializers.ModelSerializer[PersonalityVersion]):
    content = serializers.DictField(help_text="The fields of the personality as they were.")

    class Meta:
        model = PersonalityVersion
        fields = ["version", "content", "actor", "created_at"]


class PersonalityChangeSerializer(StrictSerializer):
    """What of a personality may be changed; its name stays."""

    description = serializers.CharField(required=False, max_length=10_000)
    strengths = serializers.ListField(child=serializers.CharField(max_length=MAX_WORD), required=False, max_length=30)
    specialties = serializers.ListField(child=serializers.CharField(max_length=MAX_WORD), required=False, max_length=30)
    work_style = serializers.CharField(required=False, allow_blank=True, max_length=200)
    communication_style = serializers.CharField(required=False, allow_blank=True, max_length=200)
    role_prompt = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=100_000,
        help_text="{{ job.title }}, {{ project.name }}, {{ agent.name }} and the like are filled in for each run.",
    )
    default_backend = serializers.CharField(required=False, max_length=40)
    model = serializers.CharField(required=False, allow_blank=True, max_length=100)
    flags = serializers.ListField(child=serializers.CharField(trim_whitespace=False), required=False, max_length=200)
    argv = serializers.ListField(
        child=serializers.CharField(trim_whitespace=False),
        required=False,
        max_length=200,
        help_text="The command itself, for the backend `command`; it reads the task as its input.",
    )
    max_minutes = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=100_000,
        help_text="A longer run is ended: it failed.",
    )
    limits = LimitsSerializer(required=False, help_text="What its runs may use at most; a project's tighter ones hold.")
    max_restarts = serializers.IntegerField(
        required=False, min_value=0, max_value=100, help_text="How often a failed run is started again by itself."
    )
    grace_seconds = serializers.IntegerField(required=False, min_value=0, max_value=3600)
    approvals = serializers.ChoiceField(
        choices=ApprovalMode.choices,
        required=False,
        help_text="What its program may not do by itself is denied, or asked for where it can: see /approvals/.",
    )


class NewPersonalitySerializer(PersonalityChangeSerializer):
    name = serializers.CharField(max_length=40, help_text="Letters, digits, hyphens and underscores.")
    description = serializers.CharField(max_length=10_000)
