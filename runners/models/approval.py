"""What programs ask before they act, how they were answered, and the rules that answer by themselves."""

import uuid

from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from runners.models.project import Project
from runners.models.runner import Runner
from runners.models.session import Session
from runners.states import ANSWERED, ApprovalState, RuleEffect, RuleScope

#: An hour, for projects that say nothing else: the question waits, and with it the runner's place.
DEFAULT_EXPIRES_SECONDS = 3600
LONGEST_EXPIRES_SECONDS = 30 * 86_400
LONGEST_MESSAGE = 2000
LONGEST_PATTERN = 2000


class ApprovalRule(models.Model):
    """Answers questions about a tool. Of those that fit a question the one with the lowest position answers."""

    position = models.PositiveIntegerField(help_text="Of two rules that fit, the lower one answers.")
    effect = models.CharField(max_length=5, choices=RuleEffect)
    tool = models.CharField(max_length=100, help_text="Name of the tool, as in Bash; * stands for anything.")
    pattern = models.CharField(
        max_length=LONGEST_PATTERN,
        blank=True,
        help_text="Of what it wants: a command, a path, an address; * stands for anything.",
    )
    scope = models.CharField(max_length=12, choices=RuleScope, default=RuleScope.GLOBAL)
    scope_key = models.CharField(
        max_length=100, blank=True, help_text="Name of the project, agent or personality, or the session's id."
    )
    message = models.CharField(max_length=500, blank=True, help_text="What a denied program is told.")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.CharField(max_length=100)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.CheckConstraint(name="rule_effect_known", condition=Q(effect__in=RuleEffect.values)),
            models.CheckConstraint(name="rule_scope_known", condition=Q(scope__in=RuleScope.values)),
            models.CheckConstraint(name="rule_names_a_tool", condition=~Q(tool="")),
            models.CheckConstraint(
                name="rule_key_unless_global",
                condition=Q(scope=RuleScope.GLOBAL, scope_key="") | (~Q(scope=RuleScope.GLOBAL) & ~Q(scope_key="")),
            ),
        ]
        indexes = [models.Index(name="rule_by_scope", fields=["scope", "scope_key"], condition=Q(active=True))]

    def __str__(self) -> str:
        return f"{self.effect} {self.tool}({self.pattern or '*'})"


class ApprovalTerms(models.Model):
    """How long a project's questions wait, and what an expired one is told. A project without a row has defaults."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="approval_terms", primary_key=True)
    expires_seconds = models.PositiveIntegerField(
        default=DEFAULT_EXPIRES_SECONDS,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_EXPIRES_SECONDS)],
        help_text="After so long without an answer a question is denied.",
    )
    message = models.CharField(max_length=500, blank=True, help_text="What the program is told then.")

    class Meta:
        verbose_name_plural = "approval terms"

    def __str__(self) -> str:
        return f"{self.project_id}: {self.expires_seconds} s"


class Approval(models.Model):
    """One question of one attempt of a runner. Its state is written by approval_transitions alone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    runner = models.ForeignKey(Runner, on_delete=models.CASCADE, related_name="approvals_asked")
    generation = models.PositiveIntegerField()
    session = models.ForeignKey(Session, on_delete=models.SET_NULL, null=True, related_name="approvals")
    request_id = models.CharField(max_length=100, help_text="The program's own id of the question.")
    tool_name = models.CharField(max_length=100)
    tool_input = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    wants = models.CharField(max_length=300, help_text="For people, in one line.")
    reason = models.CharField(max_length=300, blank=True, help_text="Why it asks, in the program's words.")
    proposed_pattern = models.CharField(max_length=300, blank=True, help_text="Of a rule for the rest of the session.")
    asked_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    state = models.CharField(max_length=10, choices=ApprovalState, default=ApprovalState.WAITING)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True, help_text="What the program is told.")
    rule = models.ForeignKey(ApprovalRule, on_delete=models.SET_NULL, null=True, blank=True, related_name="answered")
    rule_text = models.CharField(max_length=2200, blank=True, help_text="The rule that answered, as it was.")
    sent_at = models.DateTimeField(null=True, blank=True, help_text="When the answer was last sent to the node.")
    delivered_at = models.DateTimeField(null=True, blank=True, help_text="When the program had it.")

    class Meta:
        ordering = ["-asked_at"]
        permissions = [("decide_approval", "Can allow and deny what programs ask for")]
        constraints = [
            models.UniqueConstraint(name="approval_once", fields=["runner", "generation", "request_id"]),
            models.CheckConstraint(name="approval_state_known", condition=Q(state__in=ApprovalState.values)),
            models.CheckConstraint(
                name="approval_decided_iff_not_waiting",
                condition=Q(state=ApprovalState.WAITING, decided_at__isnull=True)
                | (~Q(state=ApprovalState.WAITING) & Q(decided_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(name="approval_newest", fields=["-asked_at"]),
            models.Index(name="approval_waiting", fields=["expires_at"], condition=Q(state=ApprovalState.WAITING)),
            models.Index(
                name="approval_undelivered",
                fields=["sent_at"],
                condition=Q(state__in=sorted(ANSWERED), delivered_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.wants

    @property
    def is_waiting(self) -> bool:
        return self.state == ApprovalState.WAITING
