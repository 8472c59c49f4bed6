"""Store what the attempts of this node leave on its disk, as it grows, until all of it is kept.

In threads of their own and with their own patience: a storage that is slow or away delays transcripts, nothing else.
"""

import contextlib
import hashlib
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.db import DatabaseError, connections
from psycopg_pool import PoolTimeout

from runners.exceptions import StorageAway
from runners.node_agent.attempts import attempt_at, names_in
from runners.services.redaction import redactor
from runners.services.transcripts import shelf
from runners.services.transcripts.store import (
    Piece,
    Place,
    Standing,
    UnknownAttempt,
    complete,
    enter_all,
    put,
    standings_of,
    sweep,
)
from runners.services.transcripts.stretch import next_stretch
from runners.shim import rundir
from runners.states import TranscriptKind

if TYPE_CHECKING:
    from hashlib import _Hash

log = structlog.get_logger(__name__)

#: Written when both files are complete in storage.
KEPT = "kept"
FILES = {TranscriptKind.OUTPUT: rundir.OUTPUT, TranscriptKind.TELEMETRY: rundir.TELEMETRY}
LOOK_SECONDS = 1.0
#: Each stores a share of the recordings: one waits for a storage while the other compresses.
THREADS = 2
#: Recordings whose parts are entered in one transaction: one with a file of an attempt's own costs 15 ms, of many 3.
GROUP_RECORDINGS = 50
#: Of one file, before the others get their turn.
PARTS_IN_A_ROW = 16
#: What is under way when the agent ends may take so long to end by itself; then it ends with the process.
END_SECONDS = 2.0
#: After a fault of one attempt's own, and where the database does not know it.
ASIDE_SECONDS = 60.0
UNKNOWN_SECONDS = 600.0
MAX_BACKOFF_SECONDS = 60.0
#: With none stored, so many tell that storage or database are away: the rest is not tried.
FAILURES_IN_A_ROUND = 3
#: The storage or the database: what one file meets, the next one would meet too.
AWAY = (DatabaseError, PoolTimeout, StorageAway, *shelf.AWAY)


@dataclass
class File:
    """One file of an attempt on its way into storage."""

    place: Place
    path: Path
    #: How far it is stored; None: not asked yet.
    offset: int | None = None
    #: Of everything up to the offset; None: somebody else stored the beginning, so it is read back in the end.
    whole: "_Hash | None" = None
    stored_at: float = field(default_factory=time.monotonic)
    #: Nobody writes to it any more.
    is_ended: bool = False
    is_complete: bool = False

    def stand(self, standing: Standing) -> None:
        """Note how far it is stored."""
        if standing.offset != self.offset:
            self.whole = hashlib.sha256() if standing.offset == 0 else None
        self.offset, self.is_complete = standing.offset, standing.is_complete

    def is_due(self) -> bool:
        """Say whether there is enough to store, or something that has waited long enough."""
        if self.is_complete:
            return False
        try:
            waiting = self.path.stat().st_size - (self.offset or 0)
        except FileNotFoundError:
            return False
        patience = settings.TRANSCRIPT_PART_SECONDS
        return waiting >= settings.TRANSCRIPT_PART_KB * 1024 or (
            waiting > 0 and (self.is_ended or time.monotonic() >= self.stored_at + patience)
        )


@dataclass
class Recording:
    """Both files of an attempt."""

    directory: Path
    files: list[File]
    aside_until: float = 0.0

    def wants(self) -> bool:
        """Say whether there is something to do. Cheap: asked of all of them every second."""
        return rundir.has(str(self.directory), rundir.EXIT) or any(file.is_due() for file in self.files)

    def is_ended(self) -> bool:
        """Say whether nobody writes to it any more; where the disk was full, its end may be told later than written."""
        run_dir = str(self.directory)
        if not rundir.has(run_dir, rundir.EXIT) or rundir.is_locked(run_dir):
            return False
        return (rundir.last_line(run_dir, rundir.TELEMETRY) or {}).get("kind") == "exit"


class Keeper:
    """Knows a share of the node's recordings: those that are not kept yet."""

    def __init__(self, runs: Path, share: int = 0, shares: int = 1) -> None:
        self.runs = runs
        self.open: dict[str, Recording] = {}
        self.stopped = threading.Event()
        self._share, self._shares = share, shares
        self._kept: set[str] = set()
        self._backoff = 0.0

    def run(self) -> None:
        """Store until stopped."""
        while not self.stopped.wait(LOOK_SECONDS + self._backoff * random.uniform(0.5, 1.0)):  # noqa: S311 - jitter
            try:
                self.look()
                self.round()
            except Exception:
                # Of the directory of runs itself. Without this thread nothing would be kept until a restart.
                log.exception("keeper_stumbled")
            finally:
                connections.close_all()

    def look(self) -> None:
        """Find the recordings that are new here, and forget those whose directory is gone."""
        there = names_in(self.runs)
        for name in there - self._kept - self.open.keys():
            directory = self.runs / name
            if (directory / KEPT).exists():
                self._kept.add(name)
            elif (attempt := attempt_at(directory)) and attempt.runner_id.int % self._shares == self._share:
                files = [File(Place(*attempt.key, kind), directory / path) for kind, path in FILES.items()]
                self.open[name] = Recording(directory, files)
        self._kept -= self._kept - there
        for name in self.open.keys() - there:
            del self.open[name]

    def round(self) -> None:
        """Store what is due of each recording. While nothing goes through, come back later and later."""
        now = time.monotonic()
        waiting = [each for each in self.open.values() if each.aside_until <= now and each.wants()]
        stored = failed = 0
        while waiting and not self.stopped.is_set() and (stored or failed < FAILURES_IN_A_ROUND):
            group, waiting = waiting[:GROUP_RECORDINGS], waiting[GROUP_RECORDINGS:]
            if len(group) > 1 and self._keep_together(group):
                stored += len(group)
                continue
            # One of them has a fault, or storage or database are away: each by itself tells.
            for recording in group:
                if self._keep(recording):
                    stored += 1
                else:
                    failed += 1
                if failed == FAILURES_IN_A_ROUND and not stored:
                    break
        # One whose own files cannot be read fails as well, and must not hold up the others.
        gone_through = stored or not failed
        self._backoff = 0.0 if gone_through else min(max(1.0, 2 * self._backoff), MAX_BACKOFF_SECONDS)

    def _keep_together(self, group: Sequence[Recording]) -> bool:
        """Store what is due of some recordings, entered in one transaction; return whether that went well."""
        try:
            self._store(group)
        except (UnknownAttempt, *AWAY) as error:
            log.warning("transcripts_kept_one_by_one", runs=len(group), error=str(error).strip()[:200])
        except Exception:
            log.exception("transcripts_kept_one_by_one", runs=len(group))
        else:
            return True
        return False

    def _keep(self, recording: Recording) -> bool:
        """Store what is due of a recording; return False if storage or database are away."""
        try:
            self._store([recording])
        except UnknownAttempt as reason:
            log.warning("transcript_unknown", run=recording.directory.name, reason=str(reason))
            recording.aside_until = time.monotonic() + UNKNOWN_SECONDS
        except AWAY as error:
            log.warning("transcript_delayed", run=recording.directory.name, error=str(error).strip()[:200])
            return False
        except Exception:
            # One that cannot be stored must not keep the others waiting.
            log.exception("transcript_set_aside", run=recording.directory.name)
            recording.aside_until = time.monotonic() + ASIDE_SECONDS
        return True

    def _store(self, group: Sequence[Recording]) -> None:
        # Asked before the files are read: what is there afterwards is all there will be.
        ended = [recording for recording in group if recording.is_ended()]
        for recording in ended:
            for file in recording.files:
                file.is_ended = True
        files = [file for recording in group for file in recording.files]
        ask_standings([file for file in files if file.offset is None])
        for _ in range(PARTS_IN_A_ROW):
            files = store_next([file for file in files if file.is_due()])
            if not files:
                break
        self._settle([recording for recording in ended if all(settle(file) for file in recording.files)])

    def _settle(self, recordings: Sequence[Recording]) -> None:
        """Note that all of these is stored."""
        sweep(*(file.place for recording in recordings for file in recording.files))
        for recording in recordings:
            (recording.directory / KEPT).touch()
            self._kept.add(recording.directory.name)
            # Noted already, if the one after it in a group could not be.
            self.open.pop(recording.directory.name, None)
            log.info("transcript_kept", run=recording.directory.name)


def ask_standings(files: Sequence[File]) -> None:
    """Ask the database how far it has these files."""
    if files:
        standings = standings_of([file.place for file in files])
        for file in files:
            file.stand(standings[file.place])


def store_next(files: Sequence[File]) -> list[File]:
    """Store the next part of each file; return those of which there was one."""
    found = [(file, *piece) for file in files if (piece := _put_next(file))]
    standings = enter_all([piece for _, piece, _ in found]) if found else []
    for (file, _, whole), standing in zip(found, standings, strict=True):
        file.stored_at = time.monotonic()
        if standing.is_ours:
            file.offset, file.whole, file.is_complete = standing.offset, whole, standing.is_complete
        else:
            file.stand(standing)
    return [file for file, _, _ in found]


def _put_next(file: File) -> tuple[Piece, "_Hash | None"] | None:
    """Bring the next part of a file into storage; return it, with the checksum so far."""
    assert file.offset is not None  # noqa: S101 - asked before
    kind, most_bytes = file.place.kind, settings.TRANSCRIPT_PART_KB * 1024
    stretch = next_stretch(file.path, kind, file.offset, most_bytes=most_bytes, ended=file.is_ended)
    if not stretch.data:
        file.stored_at = time.monotonic()  # the end of its newest lines waits for what follows
        return None
    text, findings = stretch.redacted(redactor(), kind)
    whole = file.whole.copy() if file.whole is not None else None
    if whole is not None:
        whole.update(text)
    last = whole.hexdigest() if whole is not None and stretch.is_last else ""
    return put(file.place, stretch.start, text, findings=findings, whole=last), whole


def settle(file: File) -> bool:
    """Complete the transcript of a file to which nobody writes any more; return whether all of it is stored."""
    if not file.is_complete:
        try:
            size = file.path.stat().st_size
        except FileNotFoundError:
            size = 0  # it never started
        whole = file.whole.hexdigest() if file.whole is not None else ""
        file.is_complete = complete(file.place, max(size, file.offset or 0), whole)
    return file.is_complete


@contextlib.contextmanager
def keeping(runs: Path) -> Iterator[None]:
    """Store the recordings of this node as long as the context lasts."""
    keepers = [Keeper(runs, share, THREADS) for share in range(THREADS)]
    # Daemons: a storage that never answers must not keep the node agent from ending.
    threads = [threading.Thread(target=keeper.run, name="transcripts", daemon=True) for keeper in keepers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.stopped.set()
        for thread in threads:
            thread.join(END_SECONDS)
