"""Sessions and their messages over the wire."""

from functools import cached_property
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runners.api.transcripts import RedactionSerializer
from runners.api.usage_figures import usage_of_session
from runners.api.usage_serializers import UsageSerializer
from runners.models import Message, Session


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
        return self._usages.to_representation(usage_of_session(session))

    @extend_schema_field(RedactionSerializer(many=True))
    def get_redactions(self, session: Session) -> Any:
        counts = self.context.get("redactions", {}).get(session.pk, [])
        return [self._redactions.to_representation(count) for count in counts]

    # Made once for all sessions of an answer.
    @cached_property
    def _usages(self) -> UsageSerializer:
        return UsageSerializer()

    @cached_property
    def _redactions(self) -> RedactionSerializer:
        return RedactionSerializer()


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
