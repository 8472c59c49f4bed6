"""Read the telemetry of this node's attempts into the database."""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog

from runners.models import Attempt as Past
from runners.models import Observation
from runners.node_agent.attempts import BATCH_BYTES, Attempt, find_attempt, find_attempts
from runners.node_agent.clock import Clock
from runners.node_agent.database import AWAY, in_database
from runners.services.ingest import ingest_all
from runners.services.telemetry import Batch

log = structlog.get_logger(__name__)

#: An attempt whose telemetry raised an error is tried again after this long.
ASIDE_SECONDS = 30.0

#: Attempts of one transaction. More gain little, and whoever stops one of their runners waits for it.
GROUP_ATTEMPTS = 50
#: What an attempt may bring into a transaction of many, at least: one that talks much must not keep the others waiting.
LEAST_SHARE_BYTES = BATCH_BYTES // 16
#: Kinds of records in which backends find messages and usage.
TALK = frozenset({"line", "report", "started"})


class Reader:
    """Knows the open attempts of the node, and reads each from where the database stands."""

    def __init__(self, runs: Path, clock: Clock) -> None:
        self.runs = runs
        self.clock = clock
        self.open: dict[str, Attempt] = {}
        self._known: set[str] = set()
        #: Runners whose conversation grew since somebody took note of it.
        self.talked: set[UUID] = set()

    def look(self) -> None:
        """Adopt the attempts that are new here."""
        for attempt in find_attempts(self.runs, self._known):
            self._adopt(attempt)

    def _adopt(self, attempt: Attempt) -> None:
        self._known.add(attempt.name)
        self.open[attempt.name] = attempt
        log.info("attempt_adopted", run=attempt.name)

    async def read(self, names: Iterable[str]) -> set[str]:
        """Give these attempts a turn each; return those of which there is more. Not for two tasks at once."""
        more: set[str] = set()
        waiting = [attempt for name in names if (attempt := self._readable(name))]
        while waiting:
            group, waiting = waiting[:GROUP_ATTEMPTS], waiting[GROUP_ATTEMPTS:]
            found = await in_database(partial(take_in, group, self.clock.ahead))
            waiting = [attempt for attempt in group if attempt.key not in found] + waiting
            for attempt in group:
                if (read := found.get(attempt.key)) is not None and self._reached(attempt, *read):
                    more.add(attempt.name)
        return more

    def _readable(self, name: str) -> Attempt | None:
        if name not in self._known and (new := find_attempt(self.runs / name)):
            self._adopt(new)
        attempt = self.open.get(name)
        return attempt if attempt is not None and attempt.aside_until <= time.monotonic() else None

    def _reached(self, attempt: Attempt, batch: Batch, offset: int) -> bool:
        """Note how far an attempt is read; return whether to read on at once."""
        attempt.offset = offset
        if any(record.get("kind") in TALK for record in batch.records):
            self.talked.add(attempt.runner_id)
        if offset == batch.end_offset and batch.records[-1].get("kind") == "exit":
            self._close(attempt)
            return False
        return attempt.behind or offset != batch.end_offset

    def _close(self, attempt: Attempt) -> None:
        try:
            attempt.close()
        except OSError:
            # A full disk: everything is in the database, and is only looked at once more after a restart.
            log.exception("end_not_noted", run=attempt.name)
        del self.open[attempt.name]


#: What was read of an attempt, and up to where its telemetry is in the database; None: nothing, for now.
Read = tuple[Batch, int] | None


def take_in(group: Sequence[Attempt], clock_ahead: float = 0.0) -> dict[tuple[UUID, int], Read]:
    """Read what is next of each attempt and ingest it all in one transaction. Those left out had no room.

    If one of them has a fault, they are ingested one by one, and that one is set aside for a while.
    """
    try:
        batches = _next_batches(group, clock_ahead)
        read = [batch for batch in batches.values() if batch is not None]
        # What comes back is where the database stands: past the batch, or elsewhere if another agent was faster.
        offsets = dict(zip(map(id, read), ingest_all(read), strict=True)) if read else {}
        return {key: None if batch is None else (batch, offsets[id(batch)]) for key, batch in batches.items()}
    except AWAY:
        raise
    except Exception:
        if len(group) > 1:
            log.warning("ingested_one_by_one", runs=len(group))
            return {key: read for attempt in group for key, read in take_in([attempt], clock_ahead).items()}
        # One attempt that cannot be read must not keep the others waiting.
        log.exception("attempt_set_aside", run=group[0].name)
        group[0].aside_until = time.monotonic() + ASIDE_SECONDS
        return {group[0].key: None}


def _next_batches(group: Sequence[Attempt], clock_ahead: float) -> dict[tuple[UUID, int], Batch | None]:
    """Return the next batch of each attempt, until the transaction is large enough."""
    ask_offsets([attempt for attempt in group if attempt.offset is None])
    room, share = BATCH_BYTES, max(BATCH_BYTES // len(group), LEAST_SHARE_BYTES)
    batches: dict[tuple[UUID, int], Batch | None] = {}
    for attempt in group:
        if room <= 0:
            break
        batch = batches[attempt.key] = attempt.next_batch(clock_ahead, share)
        room -= batch.end_offset - batch.start_offset if batch else 0
    return batches


def ask_offsets(attempts: Sequence[Attempt]) -> None:
    """Ask the database how far it has read these attempts."""
    if not attempts:
        return
    ids = [attempt.runner_id for attempt in attempts]
    stored: dict[tuple[UUID, int], int] = {}
    for kept in (Past, Observation):
        rows = kept.objects.filter(runner_id__in=ids)
        stored |= {(row[0], row[1]): row[2] for row in rows.values_list("runner_id", "generation", "telemetry_offset")}
    for attempt in attempts:
        attempt.offset = stored.get(attempt.key, 0)
