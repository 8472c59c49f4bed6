"""A stretch of an attempt's telemetry on its way into the database."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any
from uuid import UUID

from runners.backends.base import RecordPlace
from runners.redaction import Findings


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
