"""Turn the telemetry of runners into rows: exactly once, whatever crashes between two lines."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import structlog
from django.db import transaction

from outbox.services import bunched
from runners.backends import get_backend
from runners.backends.base import ApprovalFact, Fact, FailureFact, MessageFact, SessionFact, UsageFact
from runners.backends.lines import digest
from runners.models import Observation, Runner, Session
from runners.services import activity, approvals
from runners.services.charging import charge, hold_if_spent
from runners.services.conversation import Told, add_all_messages
from runners.services.late import ingest_late
from runners.services.ledger import Charge, enter_all_usage
from runners.services.lifecycle import ACTOR, MOVING, apply_record, write
from runners.services.provider_limits import Heard, hear_limit, note_limits
from runners.services.redaction import note_redactions, redacted
from runners.services.resume import as_attempted
from runners.services.shorten import shortened
from runners.services.telemetry import Batch
from runners.sql_rows import update_together
from runners.states import ApprovalMode, RunnerStatus, TranscriptKind
from runners.transitions import Moves

log = structlog.get_logger(__name__)

#: Records after which a runner runs.
RUNS_NOW = frozenset({"started", "resumed"})

Kind = TypeVar("Kind", MessageFact, UsageFact)


@dataclass
class Taking:
    """A batch that is being taken in, with the rows it concerns, locked, and the facts that were read in it."""

    batch: Batch
    observation: Observation
    runner: Runner
    facts: list[Fact] = field(default_factory=list)


def ingest(batch: Batch) -> int:
    """Write what a batch tells, and return the offset up to which the telemetry is in the database now."""
    return ingest_all([batch])[0]


@transaction.atomic
def ingest_all(batches: Sequence[Batch]) -> list[int]:
    """Write what batches of different runners tell, and return for each up to where its telemetry is in the database.

    All in one transaction, with one statement for each table: what one of them breaks on undoes the others too, and the
    caller hands over one after the other. Rows, totals, status, the parser's memory and the offset commit together: a
    batch that comes again after a crash is passed over, one that does not start where the database stands is answered
    with where it does. Of an older attempt only usage is taken in (`late`); a batch of a generation or runner that is
    not known counts as read.
    """
    # In the order of ids: of two transactions with the same runners one waits for the other, never both.
    locked = Observation.objects.select_for_update().filter(runner_id__in=[each.runner_id for each in batches])
    observations = {each.runner_id: each for each in locked.order_by("runner_id")}
    # A second batch of one runner waits for the next call: this one is told where the first has led.
    charges: list[Charge] = []
    reached = [_reached(batch, observations.get(batch.runner_id), charges) for batch in batches]
    present = [batch for batch, offset in zip(batches, reached, strict=True) if offset is None]
    runners = _take_in(present, observations, charges) if present else []
    # Last: the rows of budgets are shared by many runners, and are locked from here on.
    charge(charges, runners=runners)
    return [batch.end_offset if offset is None else offset for batch, offset in zip(batches, reached, strict=True)]


def _reached(batch: Batch, observation: Observation | None, charges: list[Charge]) -> int | None:
    """Return what to answer to a batch that is not taken in as the present attempt's next; None if it is."""
    if observation is not None and batch.generation < observation.generation:
        return ingest_late(batch, charges)
    if observation is None or observation.generation != batch.generation:
        log.warning("telemetry_refused", runner_id=str(batch.runner_id), generation=batch.generation)
        return batch.end_offset
    if observation.telemetry_offset != batch.start_offset:
        return observation.telemetry_offset
    observation.telemetry_offset = batch.end_offset
    return None


def _take_in(
    batches: Sequence[Batch], observations: dict[UUID, Observation], charges: list[Charge]
) -> Collection[Runner]:
    """Write what the next batches of present attempts tell; return their runners."""
    runners = {
        runner.pk: runner
        for runner in Runner.objects.select_for_update(of=("self",))
        .select_related("project", "node", "session")
        .filter(pk__in=[batch.runner_id for batch in batches])
        .order_by("pk")
    }
    takings = [Taking(batch, observations[batch.runner_id], runners[batch.runner_id]) for batch in batches]
    for taking in takings:
        _read(taking)
    add_all_messages(_told(takings, MessageFact))
    charges += enter_all_usage(_told(takings, UsageFact))
    _name_sessions(takings)
    moves = Moves(actor=ACTOR)
    for taking in takings:
        if taking.runner.approvals == ApprovalMode.ASK:
            _hear_questions(taking)
    waits = note_limits(filter(None, map(_heard, takings)))
    with bunched():
        for taking in takings:
            _follow(taking, moves, limited_until=waits.get(taking.runner.pk))
    write(moves)
    update_together([taking.observation for taking in takings], ("telemetry_offset", "parser_state", *activity.COLUMNS))
    hold_if_spent([taking.runner for taking in takings if _just_runs(taking)])
    return runners.values()


def _told(takings: Iterable[Taking], kind: type[Kind]) -> list[Told[Kind]]:
    """Return the facts of one kind, by who told them. What has no session is told to nobody."""
    return [
        Told(taking.runner.session, taking.runner, [fact for fact in taking.facts if isinstance(fact, kind)])
        for taking in takings
        if taking.runner.session is not None
    ]


def _read(taking: Taking) -> None:
    runner, observation = taking.runner, taking.observation
    backend, state = get_backend(runner.backend), observation.parser_state
    if runner.model:
        state.setdefault("model", runner.model)
    if "prompt" not in state and (prompt := as_attempted(runner).prompt.strip()):
        state["prompt"] = digest(redacted(prompt))
    for record, place in zip(taking.batch.records, taking.batch.places(), strict=True):
        facts = list(shortened(backend.read(record, state), place))
        activity.note_activity(observation, record, facts)
        taking.facts += facts


def _hear_questions(taking: Taking) -> None:
    """Enter what the program asks permission for. Not in a bunch: each question is a transaction within this one."""
    approvals.take_in(taking.runner, [fact for fact in taking.facts if isinstance(fact, ApprovalFact)])
    approvals.note_given(taking.runner, taking.batch.records)


def _heard(taking: Taking) -> Heard | None:
    has_ended = any(record.get("kind") == "exit" for record in taking.batch.records)
    return hear_limit(taking.runner, taking.observation, taking.facts, has_ended=has_ended)


def _follow(taking: Taking, moves: Moves, *, limited_until: datetime | None) -> None:
    """Move the runner as its records say. `limited_until`: it gave up, and its provider's limit holds until then."""
    state = taking.observation.parser_state
    for fact in taking.facts:
        if isinstance(fact, FailureFact):
            state["failure"] = fact.reason
    for record in taking.batch.records:
        if record.get("kind") in MOVING:
            apply_record(moves, taking.runner, record, state, limited_until=limited_until)
    note_redactions(taking.runner.pk, taking.runner.session_id, TranscriptKind.TELEMETRY, taking.batch.findings)


def _just_runs(taking: Taking) -> bool:
    return taking.runner.status == RunnerStatus.RUNNING and any(
        record.get("kind") in RUNS_NOW for record in taking.batch.records
    )


def _name_sessions(takings: Iterable[Taking]) -> None:
    for taking in takings:
        for fact in taking.facts:
            if isinstance(fact, SessionFact) and taking.runner.session is not None:
                _name_session(taking.runner.session, fact)


def _name_session(session: Session, fact: SessionFact) -> None:
    changes = {name: value for name, value in (("external_id", fact.external_id), ("title", fact.title[:200])) if value}
    others = Session.objects.filter(backend=session.backend, external_id=fact.external_id).exclude(pk=session.pk)
    if fact.external_id and others.exists():
        # A program that gives one id to two conversations cannot be resumed by it; its telemetry goes on all the same.
        log.warning("session_id_not_unique", session_id=str(session.pk), external_id=fact.external_id)
        del changes["external_id"]
    if changes:
        Session.objects.filter(pk=session.pk).update(**changes)
