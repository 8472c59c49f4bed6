"""Webhooks and their log over the wire. A secret goes out once, when it is made."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from outbox.api.strict import StrictSerializer
from outbox.models import Webhook, WebhookAttempt, WebhookDelivery
from outbox.services.event_body import body_of

_PATTERNS_HELP = "Patterns of event types: `runner.*`, `session.created`, `*`. One that matches suffices."
_PROJECTS_HELP = "Only events of these projects; empty: of all. What belongs to no project comes anyway."


def _words(**options: Any) -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(max_length=100), max_length=50, **options)


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    event_types = _words(help_text=_PATTERNS_HELP)
    projects = _words(help_text=_PROJECTS_HELP)
    two_secrets_until = serializers.DateTimeField(
        source="previous_secret_until",
        allow_null=True,
        help_text="Until then requests are signed with the secret before the last change, too.",
    )

    class Meta:
        model = Webhook
        fields = [
            "id",
            "url",
            "description",
            "event_types",
            "projects",
            "active",
            "disabled_reason",
            "failing_since",
            "resting_until",
            "two_secrets_until",
            "created_by",
            "created_at",
        ]
        read_only_fields = fields


class MadeWebhookSerializer(WebhookSerializer):
    secret = serializers.CharField(help_text="Shown this once. Verify the header `webhook-signature` with it.")

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class NewWebhookSerializer(StrictSerializer):
    url = serializers.CharField(max_length=2_000, help_text="https://, at a public address.")
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)
    event_types = _words(required=False, help_text=_PATTERNS_HELP)
    projects = _words(required=False, help_text=_PROJECTS_HELP)


class WebhookChangeSerializer(NewWebhookSerializer):
    url = serializers.CharField(max_length=2_000, required=False, help_text="https://, at a public address.")
    active = serializers.BooleanField(required=False, help_text="Switched on, it gets what happens from then on.")


class SecretSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="Shown this once.")
    two_secrets_until = serializers.DateTimeField(allow_null=True, help_text="Until then the one before is used, too.")


class PingSerializer(serializers.Serializer[Any]):
    event_id = serializers.UUIDField(help_text="The header `webhook-id` of the request that is on its way.")


class RedeliverSerializer(StrictSerializer):
    since = serializers.DateTimeField(help_text="What failed of the events since then.")


class RedeliveredSerializer(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="How many are on their way.")


class WebhookDeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    class Meta:
        model = WebhookDelivery
        fields = [
            "id",
            "event_id",
            "event_type",
            "sequence",
            "status",
            "attempts",
            "next_attempt_at",
            "error",
            "created_at",
            "settled_at",
        ]
        read_only_fields = fields


class WebhookAttemptSerializer(serializers.ModelSerializer[WebhookAttempt]):
    request_headers = serializers.DictField(child=serializers.CharField())
    answer_headers = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = WebhookAttempt
        fields = [
            "number",
            "at",
            "duration_ms",
            "request_headers",
            "answer_status",
            "answer_headers",
            "answer_body",
            "error",
        ]
        read_only_fields = fields


class WebhookDeliveryDetailSerializer(WebhookDeliverySerializer):
    attempt_list = WebhookAttemptSerializer(many=True, help_text="Each request with its answer.")
    request_body = serializers.SerializerMethodField(
        help_text="The event as it is sent; null once it is no longer kept."
    )

    class Meta(WebhookDeliverySerializer.Meta):
        fields = [*WebhookDeliverySerializer.Meta.fields, "request_body", "attempt_list"]
        read_only_fields = fields

    @extend_schema_field({"type": "string", "nullable": True})
    def get_request_body(self, delivery: WebhookDelivery) -> str | None:
        body = body_of(delivery.event_id)
        return None if body is None else body.decode()
