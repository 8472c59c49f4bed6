"""Approvals and their rules over the wire."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runners.api.strict import StrictSerializer
from runners.models import Approval, ApprovalRule, ApprovalTerms
from runners.models.approval import LONGEST_EXPIRES_SECONDS, LONGEST_MESSAGE, LONGEST_PATTERN
from runners.services.approvals.policy import proposed_rule
from runners.states import AnswerScope, RuleEffect, RuleScope


class SessionRuleSerializer(serializers.Serializer[Any]):
    tool = serializers.CharField()
    pattern = serializers.CharField(help_text="Empty: whatever it wants.")


class ApprovalSerializer(serializers.ModelSerializer[Approval]):
    """What a program asked before it acted, and the answer."""

    runner_id = serializers.UUIDField()
    runner = serializers.CharField(source="runner.name")
    project = serializers.CharField(source="runner.project.name")
    agent = serializers.CharField(source="runner.agent_name")
    session_id = serializers.UUIDField(allow_null=True)
    tool_input = serializers.JSONField(help_text="As the program told it: anything.")
    session_rule = serializers.SerializerMethodField(help_text="What `scope: session` allows, if no pattern is given.")
    rule_id = serializers.IntegerField(allow_null=True, help_text="The rule that answered; null: none, or it is gone.")

    class Meta:
        model = Approval
        fields = [
            "id",
            "runner_id",
            "runner",
            "generation",
            "project",
            "agent",
            "session_id",
            "tool_name",
            "tool_input",
            "wants",
            "reason",
            "session_rule",
            "asked_at",
            "expires_at",
            "state",
            "decided_at",
            "decided_by",
            "message",
            "rule_id",
            "rule_text",
            "delivered_at",
        ]

    @extend_schema_field(SessionRuleSerializer)
    def get_session_rule(self, approval: Approval) -> Any:
        tool, pattern = proposed_rule(approval)
        return {"tool": tool, "pattern": pattern}


class DecisionSerializer(StrictSerializer):
    decision = serializers.ChoiceField(choices=RuleEffect.choices)
    scope = serializers.ChoiceField(choices=AnswerScope.choices, default=AnswerScope.ONCE)
    pattern = serializers.CharField(
        max_length=LONGEST_PATTERN,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="With scope session: what to allow; without: `session_rule`.",
    )
    message = serializers.CharField(
        max_length=LONGEST_MESSAGE, required=False, allow_blank=True, help_text="What a denied program is told."
    )


class ApprovalRuleSerializer(serializers.ModelSerializer[ApprovalRule]):
    class Meta:
        model = ApprovalRule
        fields = [
            "id",
            "position",
            "effect",
            "tool",
            "pattern",
            "scope",
            "scope_key",
            "message",
            "active",
            "created_at",
            "created_by",
        ]


class ApprovalRuleChangeSerializer(StrictSerializer):
    position = serializers.IntegerField(
        min_value=0, max_value=1_000_000, required=False, help_text="The lower answers; without: after all others."
    )
    effect = serializers.ChoiceField(choices=RuleEffect.choices, required=False)
    tool = serializers.CharField(max_length=100, required=False, help_text="As in Bash; `*` stands for anything.")
    pattern = serializers.CharField(
        max_length=LONGEST_PATTERN,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="Of the command, path or address; `*` stands for anything; empty: whatever it is.",
    )
    scope = serializers.ChoiceField(choices=RuleScope.choices, required=False)
    scope_key = serializers.CharField(max_length=100, required=False, allow_blank=True)
    message = serializers.CharField(max_length=500, required=False, allow_blank=True)
    active = serializers.BooleanField(required=False)


class NewApprovalRuleSerializer(ApprovalRuleChangeSerializer):
    effect = serializers.ChoiceField(choices=RuleEffect.choices)
    tool = serializers.CharField(max_length=100)


class TrialSerializer(StrictSerializer):
    """A question nobody asked, to see what the rules would say."""

    tool = serializers.CharField(max_length=100)
    input = serializers.DictField(required=False, help_text='As the tool gets it: {"command": "git status"}.')
    project = serializers.CharField(max_length=63, required=False, allow_blank=True)
    agent = serializers.CharField(max_length=60, required=False, allow_blank=True)
    personality = serializers.CharField(max_length=40, required=False, allow_blank=True)
    session_id = serializers.UUIDField(required=False)
    workspace = serializers.CharField(
        max_length=1024, required=False, allow_blank=True, help_text="Where relative paths begin; else the project's."
    )


class TrialAnswerSerializer(serializers.Serializer[Any]):
    answer = serializers.ChoiceField(choices=["allow", "deny", "ask"])
    rule = ApprovalRuleSerializer(allow_null=True)
    text = serializers.CharField(help_text="What patterns are held against.")
    parts = serializers.ListField(child=serializers.CharField(), help_text="Of a command, each that must be allowed.")


class TermsSerializer(serializers.ModelSerializer[ApprovalTerms]):
    project = serializers.CharField(source="project.name")

    class Meta:
        model = ApprovalTerms
        fields = ["project", "expires_seconds", "message"]


class TermsChangeSerializer(StrictSerializer):
    expires_seconds = serializers.IntegerField(min_value=1, max_value=LONGEST_EXPIRES_SECONDS, required=False)
    message = serializers.CharField(max_length=500, required=False, allow_blank=True)
