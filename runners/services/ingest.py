"""Turn a runner's telemetry into rows: exactly once, whatever crashes between two lines."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction

from runners.backends import get_backend
from runners.backends.base import ApprovalFact, Fact, FailureFact, MessageFact, RecordPlace, SessionFact, UsageFact
from runners.backends.lines import digest
from runners.models import Observation, Runner, Session
from runners.redaction import Findings
from runners.services import activity, approvals
from runners.services.charging import charge, hold_if_spent
from runners.services.conversation import add_messages
from runners.services.late import ingest_late
from runners.services.ledger import Charge, enter_usage
from runners.services.lifecycle import apply_record
from runners.services.provider_limits import note_limits
from runners.services.redaction import note_redactions, redacted
from runners.services.resume import as_attempted
from runners.services.shorten import shortened
from runners.states import ApprovalMode, RunnerStatus, TranscriptKind

log = structlog.get_logger(__name__)

#: Records after which a runner runs.
RUNS_NOW = frozenset({"started", "resumed"})


@dataclass(frozen=True)
class Batch:
    """Some telemetry of one attempt: the records between two byte offsets of telemetry.jsonl."""

    runner_id: UUID
    generation: int
    start_offset: int
    end_offset: int
    records: Sequence[dict[str, Any]]
    #: What was redacted in them.
    findings: Findings = field(default_factory=Counter)
    #: Bytes of each record, with its newline; empty: not known.
    sizes: Sequence[int] = ()

    def places(self) -> Iterator[RecordPlace | None]:
        """Yield where each record stands."""
        offset = self.start_offset
        for size in self.sizes:
            yield RecordPlace(self.generation, offset, size)
            offset += size
        yield from repeat(None, len(self.records) - len(self.sizes))


@transaction.atomic
def ingest(batch: Batch) -> int:
    """Write what a batch tells, and return the offset up to which the telemetry is in the database now.

    Rows, totals, status, the parser's memory and the offset commit together: a batch that comes again after a crash is
    passed over, one that does not start where the database stands is answered with where it does. Of an older attempt
    only usage is taken in (`late`); a batch of a generation or runner that is not known counts as read.
    """
    observation = Observation.objects.select_for_update().filter(runner_id=batch.runner_id).first()
    if observation is not None and batch.generation < observation.generation:
        return ingest_late(batch)
    if observation is None or observation.generation != batch.generation:
        log.warning("telemetry_refused", runner_id=str(batch.runner_id), generation=batch.generation)
        return batch.end_offset
    if observation.telemetry_offset != batch.start_offset:
        return observation.telemetry_offset
    runner = (
        Runner.objects.select_for_update(of=("self",))
        .select_related("project", "node", "session")
        .get(pk=batch.runner_id)
    )
    charges = _take_in(runner, batch, observation)
    observation.telemetry_offset = batch.end_offset
    observation.save(update_fields=["telemetry_offset", "parser_state", *activity.COLUMNS])
    if runner.status == RunnerStatus.RUNNING and any(record.get("kind") in RUNS_NOW for record in batch.records):
        hold_if_spent(runner)
    # Last: the rows of budgets are shared by many runners, and are locked from here on.
    charge(charges, runner=runner)
    return batch.end_offset


def _take_in(runner: Runner, batch: Batch, observation: Observation) -> list[Charge]:
    state = observation.parser_state
    facts = _read(runner, batch, observation)
    charges: list[Charge] = []
    if runner.session is not None and facts:
        add_messages(runner.session, runner, [fact for fact in facts if isinstance(fact, MessageFact)])
        charges = enter_usage(runner.session, runner, [fact for fact in facts if isinstance(fact, UsageFact)])
        for fact in facts:
            if isinstance(fact, SessionFact):
                _name_session(runner.session, fact)
    for fact in facts:
        if isinstance(fact, FailureFact):
            state["failure"] = fact.reason
    if runner.approvals == ApprovalMode.ASK:
        approvals.take_in(runner, [fact for fact in facts if isinstance(fact, ApprovalFact)])
        approvals.note_given(runner, batch.records)
    has_ended = any(record.get("kind") == "exit" for record in batch.records)
    limited_until = note_limits(runner, observation, facts, has_ended=has_ended)
    for record in batch.records:
        apply_record(runner, record, state, limited_until=limited_until)
    note_redactions(runner.pk, runner.session_id, TranscriptKind.TELEMETRY, batch.findings)
    return charges


def _read(runner: Runner, batch: Batch, observation: Observation) -> list[Fact]:
    backend, state = get_backend(runner.backend), observation.parser_state
    if runner.model:
        state.setdefault("model", runner.model)
    if prompt := as_attempted(runner).prompt.strip():
        state.setdefault("prompt", digest(redacted(prompt)))
    found: list[Fact] = []
    for record, place in zip(batch.records, batch.places(), strict=True):
        facts = list(shortened(backend.read(record, state), place))
        activity.note_activity(observation, record, facts)
        found += facts
    return found


def _name_session(session: Session, fact: SessionFact) -> None:
    changes = {name: value for name, value in (("external_id", fact.external_id), ("title", fact.title[:200])) if value}
    others = Session.objects.filter(backend=session.backend, external_id=fact.external_id).exclude(pk=session.pk)
    if fact.external_id and others.exists():
        # A program that gives one id to two conversations cannot be resumed by it; its telemetry goes on all the same.
        log.warning("session_id_not_unique", session_id=str(session.pk), external_id=fact.external_id)
        del changes["external_id"]
    if changes:
        Session.objects.filter(pk=session.pk).update(**changes)
