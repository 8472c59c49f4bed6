"""The attempts of which this node has a run directory, and their telemetry from where the database stands."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from runners.redaction import LOOK_BACK_BYTES
from runners.services.redaction import redactor
from runners.services.telemetry import Batch

_NAME = re.compile(r"([0-9a-f]{32})\.([1-9][0-9]{0,9})")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_ESCAPE = re.compile(rb"\\u(0000|d[89a-f])|\x00", re.IGNORECASE)
#: Read at once: a batch is one transaction, and one attempt must not keep the others waiting.
BATCH_BYTES = 1 << 20
#: The end of a record whose line goes on in the next one.
PARTIAL = b'"partial": true}\n'
#: Written when the last record is in the database: the attempt is not read again after a restart.
INGESTED = "ingested"


@dataclass
class Attempt:
    """One attempt of a runner, by its run directory."""

    runner_id: UUID
    generation: int
    directory: Path
    #: Byte offset up to which its telemetry is in the database; None: not asked yet.
    offset: int | None = None
    ended: bool = False
    #: There was more to read than the last batch holds.
    behind: bool = False
    #: Monotonic time before which it is not read: it could not be, a moment ago.
    aside_until: float = 0.0

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def key(self) -> tuple[UUID, int]:
        return self.runner_id, self.generation

    def next_batch(self, clock_ahead: float = 0.0, most_bytes: int = BATCH_BYTES) -> Batch | None:
        """Return the complete lines past the offset, or None if there are none. Needs `offset`.

        About `most_bytes` at most: of a longer record all of it.
        """
        assert self.offset is not None  # noqa: S101 - asked before the first read
        try:
            with (self.directory / "telemetry.jsonl").open("rb") as file:
                before = what_began_before(file, self.offset)
                data = file.read(most_bytes)
                self.behind = len(data) == most_bytes
                if data and b"\n" not in data:
                    data += file.readline()  # a record longer than a batch
        except FileNotFoundError:
            return None
        # A line without its end is still being written.
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            return None
        # Before anybody reads it: what rows, parser's memory and reasons are made of has no secrets any more.
        lines, findings = redactor().telemetry(whole, before=before)
        found = lines.splitlines(keepends=True)
        records = [at_database_time(parse(line), clock_ahead) for line in found]
        return Batch(
            self.runner_id,
            self.generation,
            self.offset,
            self.offset + len(whole),
            records,
            findings,
            list(map(len, found)),
        )

    def close(self) -> None:
        """Note that everything is in the database."""
        self.ended = True
        (self.directory / INGESTED).touch()


def what_began_before(file: BinaryIO, offset: int) -> bytes:
    """Return what stands before the offset if a secret may have begun there, which in whole records is seldom."""
    start = max(0, offset - LOOK_BACK_BYTES)
    file.seek(start)
    before = file.read(offset - start)
    return before if b"PRIVATE KEY" in before or before.endswith(PARTIAL) else b""


def at_database_time(record: dict[str, Any], ahead: float) -> dict[str, Any]:
    """Return the record with its moment by the database's clock, which is `ahead` seconds ahead of the node's."""
    stamp = record.get("t")
    return {**record, "t": stamp + ahead} if ahead and isinstance(stamp, int | float) else record


def parse(line: bytes) -> dict[str, Any]:
    """Return one telemetry record; a line that is no JSON object is kept as `garbled`, never an error."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        record = {"kind": "garbled", "raw": line.decode(errors="replace")}
    # Agents print anything. The escapes are looked for first: few lines have one, and the walk costs more than parsing.
    return {name: storable(value) for name, value in record.items()} if _UNSTORABLE_ESCAPE.search(line) else record


def storable(value: Any) -> Any:
    """Return `value` with what PostgreSQL's text cannot hold (NUL, lone surrogates) replaced."""
    match value:
        case str():
            return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        case dict():
            return {storable(name): storable(inner) for name, inner in value.items()}
        case list():
            return [storable(inner) for inner in value]
    return value


def attempt_at(directory: Path) -> Attempt | None:
    """Return the attempt whose run directory this is, or None for anything else."""
    match = _NAME.fullmatch(directory.name)
    return Attempt(UUID(match[1]), int(match[2]), directory) if match else None


def find_attempts(runs: Path, known: set[str]) -> Iterator[Attempt]:
    """Yield the attempts below `runs` that are neither `known` nor done with; forget those that are gone."""
    there = names_in(runs)
    known -= known - there
    for name in there - known:
        if attempt := find_attempt(runs / name):
            yield attempt
        elif (runs / name / INGESTED).exists():
            known.add(name)


def names_in(directory: Path) -> set[str]:
    """Return the names in a directory; asked every second where there may be thousands."""
    with os.scandir(directory) as entries:
        return {entry.name for entry in entries}


def find_attempt(directory: Path) -> Attempt | None:
    """Return the attempt of this run directory, or None if there is none or it is done with."""
    attempt = attempt_at(directory)
    return attempt if attempt and directory.is_dir() and not (directory / INGESTED).exists() else None
