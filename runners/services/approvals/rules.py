"""Keep the rules that answer questions, and the terms of projects. Each change is on record."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from outbox.services import record_act
from runners.exceptions import RuleRefused
from runners.models import ApprovalRule, ApprovalTerms, Project, Session
from runners.services.prices import facts_of
from runners.states import RuleScope

#: Between two rules that were added one after the other there is room for others.
STEP = 10


@transaction.atomic
def save_rule(rule: ApprovalRule, changes: Mapping[str, Any], *, actor: str) -> ApprovalRule:
    """Save a rule, new or changed; it answers what is asked from now on. Raises RuleRefused."""
    before = facts_of(rule) if rule.pk else None
    for name, value in changes.items():
        setattr(rule, name, value)
    if not rule.pk:
        rule.created_by = actor
    if before is None and "position" not in changes:
        rule.position = (ApprovalRule.objects.aggregate(last=Max("position"))["last"] or 0) + STEP
    _check(rule)
    rule.save()
    _record("change" if before else "create", rule, actor, before=before, after=facts_of(rule))
    return rule


@transaction.atomic
def delete_rule(rule: ApprovalRule, *, actor: str) -> None:
    """Delete a rule; what it answered keeps its words."""
    _record("delete", rule, actor, before=facts_of(rule), after=None)
    rule.delete()


@transaction.atomic
def set_terms(project: Project, changes: Mapping[str, Any], *, actor: str) -> ApprovalTerms:
    """Set how long a project's questions wait, and what an expired one is told. Raises RuleRefused."""
    # Of two who set the first ones, one sees those of the other.
    Project.objects.select_for_update().get(pk=project.pk)
    terms = ApprovalTerms.objects.filter(project=project).first() or ApprovalTerms(project=project)
    before = facts_of(terms)
    for name, value in changes.items():
        setattr(terms, name, value)
    _full_clean(terms)
    terms.save()
    record_act(
        "approval_terms.change",
        actor=actor,
        target_type="project",
        target_id=project.name,
        target_name=project.name,
        before=before,
        after=facts_of(terms),
    )
    return terms


def _check(rule: ApprovalRule) -> None:
    if rule.scope == RuleScope.GLOBAL:
        rule.scope_key = ""
    elif not rule.scope_key:
        raise RuleRefused(f"Name the {rule.scope} it is for.", field="scope_key")
    elif rule.scope == RuleScope.PROJECT and not Project.objects.filter(name=rule.scope_key).exists():
        raise RuleRefused(f"There is no project {rule.scope_key!r}.", field="scope_key")
    elif rule.scope == RuleScope.SESSION:
        rule.scope_key = _session(rule.scope_key)
    _full_clean(rule)


def _session(key: str) -> str:
    try:
        session_id = UUID(key)
    except ValueError:
        session_id = None
    if session_id is None or not Session.objects.filter(pk=session_id).exists():
        raise RuleRefused(f"There is no session {key!r}.", field="scope_key")
    return str(session_id)


def _full_clean(record: ApprovalRule | ApprovalTerms) -> None:
    try:
        record.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise RuleRefused(" ".join(messages), field=None if field == "__all__" else field) from None


def _record(verb: str, rule: ApprovalRule, actor: str, **sides: Any) -> None:
    record_act(
        f"approval_rule.{verb}",
        actor=actor,
        target_type="approval_rule",
        target_id=rule.pk,
        target_name=str(rule)[:200],
        **sides,
    )
