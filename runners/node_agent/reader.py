"""Read the telemetry of this node's attempts into the database."""

import time
from pathlib import Path
from uuid import UUID

import structlog

from runners.models import Attempt as Past
from runners.models import Observation
from runners.node_agent.attempts import Attempt, find_attempt, find_attempts
from runners.node_agent.clock import Clock
from runners.node_agent.database import in_database
from runners.services.ingest import Batch, ingest

log = structlog.get_logger(__name__)


#: An attempt whose telemetry raised an error is tried again after this long.
ASIDE_SECONDS = 30.0

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

    async def read(self, name: str) -> bool:
        """Read all there is of one attempt; return whether there was anything. Not for two tasks at once."""
        if name not in self._known and (new := find_attempt(self.runs / name)):
            self._adopt(new)
        attempt = self.open.get(name)
        if attempt is not None and attempt.aside_until > time.monotonic():
            return False
        anything = False
        while attempt is not None and not attempt.ended and (batch := await self._next(attempt)):
            anything = True
            await self._hand_over(attempt, batch)
        return anything

    def set_aside(self, name: str) -> None:
        """Leave an attempt that could not be read alone for a while."""
        self.open[name].aside_until = time.monotonic() + ASIDE_SECONDS

    async def _next(self, attempt: Attempt) -> Batch | None:
        if attempt.offset is None:
            attempt.offset = await in_database(lambda: stored_offset(attempt))
        return attempt.next_batch(self.clock.ahead)

    async def _hand_over(self, attempt: Attempt, batch: Batch) -> None:
        # What comes back is where the database stands: past this batch, or elsewhere if another agent was faster.
        attempt.offset = await in_database(lambda: ingest(batch))
        if any(record.get("kind") in TALK for record in batch.records):
            self.talked.add(attempt.runner_id)
        if attempt.offset == batch.end_offset and batch.records[-1].get("kind") == "exit":
            attempt.close()
            del self.open[attempt.name]


def stored_offset(attempt: Attempt) -> int:
    """Return how far the database has read this attempt."""
    one = {"runner_id": attempt.runner_id, "generation": attempt.generation}
    present = Observation.objects.filter(**one).values_list("telemetry_offset", flat=True).first()
    if present is not None:
        return present
    return Past.objects.filter(**one).values_list("telemetry_offset", flat=True).first() or 0
