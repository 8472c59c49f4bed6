"""People's answers."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from outbox.services import record_act
from runners.approval_transitions import settle
from runners.exceptions import ApprovalSettled, InvalidRequest
from runners.models import Approval, ApprovalRule
from runners.models.approval import LONGEST_MESSAGE, LONGEST_PATTERN
from runners.services.approvals.asked import DENIED
from runners.services.approvals.policy import Question, covers, proposed_rule
from runners.states import ANSWERED, ApprovalState, RuleEffect, RuleScope


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person answers."""

    allow: bool
    #: What a denied program is told.
    message: str = ""
    #: Allow what is like it for the rest of the session, too.
    for_session: bool = False
    #: Then: like what; None: what is proposed for it.
    pattern: str | None = None

    @property
    def state(self) -> ApprovalState:
        return ApprovalState.ALLOWED if self.allow else ApprovalState.DENIED


@transaction.atomic
def decide_approval(approval_id: UUID, decision: Decision, *, actor: str) -> Approval:
    """Answer a question and return it. Repeating one's own answer is harmless.

    Raises ApprovalSettled if it was answered otherwise, by another, or is not asked any more, and InvalidRequest.
    """
    _check(decision)
    message = "" if decision.allow else decision.message.strip() or DENIED
    approval = settle(approval_id, decision.state, actor=actor, message=message)
    if approval is None:
        return _repeated(approval_id, decision, actor)
    rule = _remember(approval, decision, actor) if decision.for_session else None
    _record(approval, actor, message, rule)
    if rule is not None:
        _answer_others(approval, rule, actor)
    return approval


def _check(decision: Decision) -> None:
    if len(decision.message) > LONGEST_MESSAGE:
        raise InvalidRequest(f"A message has at most {LONGEST_MESSAGE} characters.", field="message")
    if decision.for_session and not decision.allow:
        raise InvalidRequest("Only what is allowed is allowed for the session.", field="scope")


def _repeated(approval_id: UUID, decision: Decision, actor: str) -> Approval:
    """Return the question if this very person gave this very answer before; else raise ApprovalSettled."""
    approval = Approval.objects.select_related("runner__project", "runner__node").get(pk=approval_id)
    if approval.state == decision.state and approval.decided_by == actor:
        return approval
    raise settled_error(approval)


def settled_error(approval: Approval) -> ApprovalSettled:
    """Return the refusal that says how a question ended."""
    state = ApprovalState(approval.state)
    by = f" by {approval.decided_by}" if state in ANSWERED else ""
    why = f": {approval.message}" if state == ApprovalState.WITHDRAWN and approval.message else ""
    facts = {"state": state.value, "decided_by": approval.decided_by, "decided_at": approval.decided_at}
    return ApprovalSettled(f"It was {state.value}{by} before{why}".rstrip(".") + ".", **facts)


def _remember(approval: Approval, decision: Decision, actor: str) -> ApprovalRule:
    if approval.session_id is None:
        raise InvalidRequest("It has no session for which it could be allowed.", field="scope")
    tool, pattern = proposed_rule(approval)
    pattern = pattern if decision.pattern is None else decision.pattern
    if len(pattern) > LONGEST_PATTERN:
        raise InvalidRequest("It is too long to be remembered: allow it once.", field="scope")
    return ApprovalRule.objects.create(
        position=0,
        effect=RuleEffect.ALLOW,
        tool=tool,
        pattern=pattern,
        scope=RuleScope.SESSION,
        scope_key=str(approval.session_id),
        created_by=actor,
    )


def _record(approval: Approval, actor: str, message: str, rule: ApprovalRule | None) -> None:
    after: dict[str, Any] = {"state": approval.state, "wants": approval.wants}
    if rule is not None:
        after["for_session"] = str(rule)
    record_act(
        f"approval.{'allow' if approval.state == ApprovalState.ALLOWED else 'deny'}",
        actor=actor,
        target_type="approval",
        target_id=approval.pk,
        target_name=approval.runner.name,
        before={"state": ApprovalState.WAITING.value},
        after=after,
        reason=message,
    )


def _answer_others(approval: Approval, rule: ApprovalRule, actor: str) -> None:
    """Allow what waits in the session and is like it. Another decider's questions are left to them."""
    others = Approval.objects.filter(session=approval.session_id, state=ApprovalState.WAITING)
    others = others.select_related("runner__project", "runner__worktree")
    for other in others.select_for_update(of=("self",), skip_locked=True):
        if covers(rule, Question.of(other.runner, other.tool_name, other.tool_input)):
            settle(other.pk, ApprovalState.ALLOWED, actor=actor, rule=rule, rule_text=str(rule))
