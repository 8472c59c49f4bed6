"""Redact by the rules that are in force, and count what was redacted."""

import hashlib
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Count, QuerySet, Sum

from outbox.services import record_act
from runners.models import Redaction, RedactionRule
from runners.redaction import BUILT_IN, BadRule, Findings, Redactor, Rule, check_rule
from runners.sql import Redacted, add_redactions

log = structlog.get_logger(__name__)

#: So long after a change of the rules every process works by the new ones.
RULES_SECONDS = 15.0


@dataclass(frozen=True)
class RuleCount:
    """How much was redacted by one rule."""

    rule: str
    #: Different ones.
    secrets: int
    #: In telemetry and on the terminal; a program that tells what it prints tells it twice.
    places: int


def redactor() -> Redactor:
    """Return the redactor by the rules in force."""
    return _current.get()


def redacted(text: str) -> str:
    """Return a text as it may be written to the database."""
    return redactor().text(text)[0]


def note_redactions(runner_id: UUID, session_id: UUID | None, kind: str, findings: Findings) -> None:
    """Count what was redacted; in the transaction that writes what it was redacted from."""
    add_redactions(
        [
            Redacted(runner_id, session_id, kind, rule, fingerprint, places)
            for (rule, fingerprint), places in findings.items()
        ]
    )


def redactions_of_sessions(session_ids: Iterable[UUID]) -> dict[UUID, list[RuleCount]]:
    """Return what was redacted in each session, by rule; of one without, nothing."""
    return _counts("session_id", Redaction.objects.filter(session__in=list(session_ids)))


def redactions_of_runners(runner_ids: Iterable[UUID]) -> dict[UUID, list[RuleCount]]:
    """Return what was redacted of each runner, by rule; of one without, nothing."""
    return _counts("runner_id", Redaction.objects.filter(runner__in=list(runner_ids)))


def _counts(of: str, rows: QuerySet[Redaction]) -> dict[UUID, list[RuleCount]]:
    sums = rows.order_by(of, "rule").values_list(of, "rule")
    found: dict[UUID, list[RuleCount]] = {}
    for owner, rule, secrets, places in sums.annotate(Count("fingerprint", distinct=True), Sum("places")):
        found.setdefault(owner, []).append(RuleCount(rule, secrets, places))
    return found


@transaction.atomic
def save_rule(row: RedactionRule, *, actor: str) -> None:
    """Save a rule, new or changed. Raises BadRule."""
    if not row.is_built_in:
        check_rule(Rule(row.name, row.note, row.pattern))
    stored = RedactionRule.objects.filter(pk=row.pk).first()
    row.save()
    _record("redaction_rule.change" if stored else "redaction_rule.create", row, actor, before=stored, after=row)


@transaction.atomic
def delete_rule(row: RedactionRule, *, actor: str) -> None:
    """Delete a rule of one's own."""
    _record("redaction_rule.delete", row, actor, before=row, after=None)
    row.delete()


def _record(
    action: str, row: RedactionRule, actor: str, *, before: RedactionRule | None, after: RedactionRule | None
) -> None:
    record_act(
        action,
        actor=actor,
        target_type="redaction_rule",
        target_id=row.name,
        target_name=row.name,
        before=_facts(before),
        after=_facts(after),
    )
    transaction.on_commit(forget_rules)


def _facts(row: RedactionRule | None) -> dict[str, Any] | None:
    return None if row is None else {"pattern": row.pattern, "is_active": row.is_active, "note": row.note}


def rules_in_force() -> list[Rule]:
    """Return the rules that come with Stratavore, but for those that are switched off, and those of one's own."""
    rows = list(RedactionRule.objects.all())
    off = {row.name for row in rows if not row.is_active}
    own = [_own(row) for row in rows if row.is_active and not row.is_built_in]
    return [rule for rule in BUILT_IN if rule.name not in off] + [rule for rule in own if rule is not None]


def _own(row: RedactionRule) -> Rule | None:
    rule = Rule(row.name, row.note, row.pattern)
    try:
        check_rule(rule)
    except BadRule as reason:
        # Written past the admin. The others hold all the same.
        log.error("redaction_rule_refused", rule=row.name, reason=str(reason))
        return None
    return rule


class _Current:
    """The redactor of this process, made anew when rules have changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._redactor: Redactor | None = None
        self._rules: list[Rule] = []
        self._asked_at = float("-inf")

    def get(self) -> Redactor:
        """Return it; rules are asked for at most every 15 s. Raises what the database raises, the first time only."""
        now = time.monotonic()
        if self._redactor is not None and now < self._asked_at + RULES_SECONDS:
            return self._redactor
        with self._lock:
            rules = rules_in_force()
            if self._redactor is None or rules != self._rules:
                self._redactor, self._rules = Redactor(rules, _key()), rules
            self._asked_at = now
            return self._redactor

    def forget(self) -> None:
        """Ask again at the next use."""
        self._asked_at = float("-inf")


_current = _Current()
#: To be called where a rule was changed.
forget_rules = _current.forget


def _key() -> bytes:
    return hashlib.sha256(b"fingerprints of secrets\0" + settings.SECRET_KEY.encode()).digest()
