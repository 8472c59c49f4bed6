"""Telemetry of an attempt that has a successor: what it used counts, what it says is refused."""

from dataclasses import replace

import structlog

from runners import acts
from runners.backends import get_backend
from runners.backends.base import UsageFact
from runners.models import Attempt, Runner
from runners.services.ledger import Charge, enter_usage
from runners.services.telemetry import Batch

log = structlog.get_logger(__name__)


def ingest_late(batch: Batch, charges: list[Charge]) -> int:
    """Take in a batch of an older attempt, and return the offset up to which it was read. In ingest's transaction.

    What it adds to the ledger is added to `charges`, for the caller to charge at its end.

    A node that was lost and is back tells what its fenced attempts did meanwhile. Tokens that were used are used: they
    go into the ledger, by their keys once. Messages and moves are the present attempt's alone: these are refused, and
    counted on the attempt. How it ended is kept there too. The caller holds the lock of the runner's observation.
    """
    runner = Runner.objects.get(pk=batch.runner_id)
    # Locked: the same node may fence it at this moment, and neither may undo what the other writes.
    attempt = (
        Attempt.objects.select_for_update(of=("self",))
        .select_related("session")
        .filter(runner_id=batch.runner_id, generation=batch.generation)
        .first()
    )
    if attempt is None:
        log.warning("telemetry_refused", runner_id=str(batch.runner_id), generation=batch.generation)
        acts.stale(runner, batch.generation, what="telemetry")
        return batch.end_offset
    if attempt.telemetry_offset != batch.start_offset:
        return attempt.telemetry_offset
    if not attempt.refused_records:
        # The first time: what comes after it of the same attempt is the same refusal.
        acts.stale(runner, batch.generation, what="telemetry")
    charges += _enter_usage(runner, attempt, batch)
    for record in batch.records:
        if record.get("kind") == "exit":
            attempt.exit_code, attempt.exit_signal = record.get("code"), record.get("signal")
    attempt.telemetry_offset = batch.end_offset
    attempt.refused_records += len(batch.records)
    attempt.save()
    log.warning(
        "late_telemetry", runner_id=str(batch.runner_id), generation=batch.generation, records=len(batch.records)
    )
    return batch.end_offset


def _enter_usage(runner: Runner, attempt: Attempt, batch: Batch) -> list[Charge]:
    backend = get_backend(runner.backend)
    facts = [fact for record in batch.records for fact in backend.read(record, attempt.parser_state)]
    # A late total knows nothing of what its successor used, so it cannot settle the cost of the session.
    used = [replace(fact, settles=False) for fact in facts if isinstance(fact, UsageFact)]
    return enter_usage(attempt.session, runner, used) if attempt.session is not None else []
