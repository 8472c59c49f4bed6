"""Take in what a program asks: once, answered by a rule at once if one fits."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from runners.approval_transitions import PROGRAM, enter, settle
from runners.backends.base import ApprovalFact
from runners.backends.lines import mapping, telling
from runners.models import Approval, ApprovalTerms, Runner
from runners.models.approval import DEFAULT_EXPIRES_SECONDS
from runners.services.approvals.policy import Question, Ruling, rule_on, rules_for
from runners.sql import database_now
from runners.states import ApprovalState, RuleEffect

WANTS_LENGTH = 300
#: What a program is told that was denied without a word.
DENIED = "That was denied."


def take_in(runner: Runner, facts: Iterable[ApprovalFact]) -> None:
    """Enter what the locked `runner`'s present attempt asks, or takes back. In the transaction of its telemetry."""
    for fact in facts:
        known = Approval.objects.filter(
            runner=runner, generation=runner.generation, request_id=fact.request_id
        ).first()  # fmt: skip
        if fact.withdrawn:
            if known is not None:
                settle(known.pk, ApprovalState.WITHDRAWN, actor=PROGRAM, message="The program took it back.")
        elif known is None:
            enter(_answered(_question(runner, fact)))


def _question(runner: Runner, fact: ApprovalFact) -> Approval:
    terms = ApprovalTerms.objects.filter(project=runner.project_id).first()
    seconds = terms.expires_seconds if terms else DEFAULT_EXPIRES_SECONDS
    return Approval(
        runner=runner,
        generation=runner.generation,
        session=runner.session,
        request_id=fact.request_id,
        tool_name=fact.tool_name,
        tool_input=mapping(fact.tool_input),
        wants=wants(fact.tool_name, fact.tool_input),
        reason=fact.reason,
        proposed_pattern=fact.proposed_pattern,
        asked_at=fact.at,
        # From now: whoever was away when it asked has the whole time still.
        expires_at=database_now() + timedelta(seconds=seconds),
    )


def wants(tool_name: str, tool_input: Any) -> str:
    """Return what is asked for in one line."""
    told = " ".join(telling(tool_input).split())
    return (f"{tool_name}: {told}" if told else tool_name)[:WANTS_LENGTH]


def _answered(approval: Approval) -> Approval:
    """Return the question, answered if a rule answers it."""
    runner = approval.runner
    question = Question.of(runner, approval.tool_name, approval.tool_input)
    ruling = rule_on(question, rules_for(runner))
    if ruling is not None:
        _apply(approval, ruling)
    return approval


def _apply(approval: Approval, ruling: Ruling) -> None:
    allowed = ruling.effect == RuleEffect.ALLOW
    now = database_now()
    approval.state = ApprovalState.ALLOWED if allowed else ApprovalState.DENIED
    approval.decided_at = approval.sent_at = now
    approval.decided_by = "system:rule"
    approval.rule, approval.rule_text = ruling.rule, str(ruling.rule)
    approval.message = "" if allowed else ruling.rule.message or f"A rule denies it: {ruling.rule}."


def note_given(runner: Runner, records: Iterable[Mapping[str, Any]]) -> None:
    """Note of answers that the shim gave to the program when it did."""
    keys = [str(record.get("once")) for record in records if record.get("kind") == "given"]
    if keys:
        Approval.objects.filter(
            runner=runner, generation=runner.generation, request_id__in=keys, delivered_at__isnull=True
        ).update(delivered_at=database_now())
