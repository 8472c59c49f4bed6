"""Notification targets and their log over the wire. A URL goes in, and never out."""

from typing import Any

from rest_framework import serializers

from outbox.api.strict import StrictSerializer
from outbox.models import Notification, NotificationRule, NotificationTarget
from outbox.states import Severity


def _words(**options: Any) -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(max_length=100), max_length=50, **options)


class RuleSerializer(serializers.ModelSerializer[NotificationRule]):
    event_types = _words()
    projects = _words()

    class Meta:
        model = NotificationRule
        fields = ["event_types", "severity", "projects"]
        read_only_fields = fields


class NewRuleSerializer(StrictSerializer):
    event_types = _words(help_text="Patterns: `runner.*`, `system.alert`, `*`.")
    severity = serializers.ChoiceField(
        choices=Severity.choices, default=Severity.WARNING, help_text="Only what matters as much or more."
    )
    projects = _words(default=list, help_text="Empty: all.")


class TargetSerializer(serializers.ModelSerializer[NotificationTarget]):
    rules = RuleSerializer(many=True)

    class Meta:
        model = NotificationTarget
        fields = [
            "name",
            "shown",
            "active",
            "settle_seconds",
            "window_seconds",
            "quiet_from",
            "quiet_until",
            "time_zone",
            "critical_passes",
            "rules",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields


class TargetChangeSerializer(StrictSerializer):
    url = serializers.CharField(
        required=False, max_length=2_000, help_text="An Apprise URL. It is kept encrypted and not shown again."
    )
    active = serializers.BooleanField(required=False)
    settle_seconds = serializers.IntegerField(required=False, min_value=0, max_value=3_600)
    window_seconds = serializers.IntegerField(required=False, min_value=0, max_value=86_400)
    quiet_from = serializers.TimeField(required=False, allow_null=True)
    quiet_until = serializers.TimeField(required=False, allow_null=True)
    time_zone = serializers.CharField(required=False, max_length=60, help_text="Europe/Berlin")
    critical_passes = serializers.BooleanField(required=False)
    rules = NewRuleSerializer(many=True, required=False, help_text="They replace those it has.")


class NewTargetSerializer(TargetChangeSerializer):
    name = serializers.SlugField(max_length=60)
    url = serializers.CharField(max_length=2_000, help_text="An Apprise URL. It is kept encrypted and not shown again.")


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    target = serializers.CharField(source="target.name")

    class Meta:
        model = Notification
        fields = [
            "id",
            "target",
            "title",
            "body",
            "severity",
            "event_count",
            "status",
            "attempts",
            "next_attempt_at",
            "error",
            "created_at",
            "settled_at",
        ]
        read_only_fields = fields


def valid(form: serializers.Serializer[Any]) -> dict[str, Any]:
    """Return what the request holds, or refuse it."""
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)
