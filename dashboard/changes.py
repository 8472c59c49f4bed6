"""Read what changed, and write it as the messages of docs/live-protocol.md: each once, for all who follow it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from dashboard import figures, stream
from dashboard.rows import (
    Row,
    event_row,
    load_node_rows,
    load_runner_rows,
    observed_row,
    runner_rows,
    session_row,
    shown_runners,
)
from dashboard.stream import Position
from outbox.models import Entry
from runners.models import Approval, Runner, Session
from runners.states import ApprovalState

#: Events read at once; a client further behind than this gets a snapshot, which is then the cheaper answer.
MAX_ENTRIES = 500
#: Runners of a fleet snapshot; the client is told when there are more and asks for its page again.
SNAPSHOT_RUNNERS = 200
SNAPSHOT_EVENTS = 30

COUNTS = "counts"
FLEET = "fleet"


@dataclass
class Noted:
    """What nudges told since the last flush."""

    observed: dict[str, list[Any]] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)

    def take(self) -> "Noted":
        taken = Noted(self.observed, self.sessions)
        self.observed, self.sessions = {}, set()
        return taken

    def __bool__(self) -> bool:
        return bool(self.observed or self.sessions)


@dataclass(frozen=True)
class Changes:
    """What is new for the sockets: one read of the database."""

    position: Position
    rows: list[Row]
    observed: list[Row] = field(default_factory=list)
    counts: dict[str, int] | None = None
    nodes: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    sessions: list[Row] = field(default_factory=list)

    def message(self, topic: str, op: str = "delta", **more: Any) -> str | None:
        """Return the message of one topic as JSON, or None when it has nothing new."""
        content = self._content(topic)
        if op == "delta" and not more and not any(content.values()):
            return None
        return _json({**self._head(topic, op), **{name: value for name, value in content.items() if value}, **more})

    def _head(self, topic: str, op: str) -> dict[str, Any]:
        return {
            "op": op,
            "topic": topic,
            "epoch": self.position.epoch,
            "sequence": self.position.sequence,
            "at": figures.instant(timezone.now()),
        }

    def _content(self, topic: str) -> dict[str, Any]:
        if topic == COUNTS:
            return {"counts": self.counts}
        if topic == FLEET:
            return {
                "rows": self.rows,
                "observed": self.observed,
                "counts": self.counts,
                "nodes": self.nodes,
                "events": self.events,
            }
        kind, _, key = topic.partition(":")
        if kind == "runner":
            return {
                "rows": [row for row in self.rows if row["id"] == key],
                "observed": [row for row in self.observed if row["id"] == key],
                "events": [row for row in self.events if row["runner"] == key],
            }
        if kind == "operation":
            return {"events": [row for row in self.events if row["operation"] == key]}
        return {"sessions": [row for row in self.sessions if row["id"] == key]}


def read_changes(position: Position, end: Position, noted: Noted) -> Changes:
    """Return what came after `position` up to `end`, or the first part of it, and what was noted besides."""
    entries = list(Entry.objects.after(position.sequence).filter(sequence__lte=end.sequence)[:MAX_ENTRIES])
    # Tasks have positions too, but are nobody's news: the end is reached even if its last entries are tasks.
    reached = end if len(entries) < MAX_ENTRIES else Position(end.epoch, entries[-1].sequence or 0)
    ids = _runner_ids(entries) | _ids_by_session(noted.sessions)
    return Changes(
        position=reached,
        rows=load_runner_rows(ids) if ids else [],
        # A full row is newer than a heartbeat noted before it was read.
        observed=[observed_row(values) for runner_id, values in noted.observed.items() if runner_id not in ids],
        counts=_counts() if entries else None,
        nodes=load_node_rows() if entries else [],
        events=[event_row(entry) for entry in entries],
        sessions=_session_rows(Q(pk__in=noted.sessions)) if noted.sessions else [],
    )


def read_missed(sequence: int, since: datetime | None) -> Changes | None:
    """Return what a client missed after `sequence`, or None when that is too much: then it needs a snapshot.

    Sessions grow without events, so their runners are found by time, with a margin for clocks and slow commits.
    """
    here = stream.position()
    entries = list(Entry.objects.after(sequence)[: MAX_ENTRIES + 1])
    if len(entries) > MAX_ENTRIES:
        return None
    grown = Q(last_message_at__gte=since - timedelta(seconds=5)) if since else Q(pk__in=[])
    sessions = _session_rows(grown)
    ids = _runner_ids(entries) | _ids_by_session({row["id"] for row in sessions})
    return Changes(
        position=here,
        rows=load_runner_rows(ids) if ids else [],
        counts=_counts(),
        nodes=load_node_rows(),
        events=[event_row(entry) for entry in entries],
        sessions=sessions,
    )


def read_snapshot(topics: Iterable[str]) -> tuple[Changes, bool]:
    """Return the present state of these topics, and whether it holds every open runner."""
    here = stream.position()
    keys = {kind: _keys(topics, kind) for kind in ("runner", "session")}
    rows = {row["id"]: row for row in load_runner_rows(keys["runner"])} if keys["runner"] else {}
    complete = True
    if FLEET in topics:
        newest = list(shown_runners().open()[: SNAPSHOT_RUNNERS + 1])
        complete = len(newest) <= SNAPSHOT_RUNNERS
        rows |= {row["id"]: row for row in runner_rows(newest[:SNAPSHOT_RUNNERS])}
    return (
        Changes(
            position=here,
            rows=list(rows.values()),
            counts=_counts(),
            nodes=load_node_rows(),
            events=latest_events(SNAPSHOT_EVENTS)[::-1],
            sessions=_session_rows(Q(pk__in=keys["session"])) if keys["session"] else [],
        ),
        complete,
    )


def latest_events(count: int) -> list[Row]:
    """Return the newest events as rows of the feed, newest first."""
    newest = Entry.objects.events().filter(sequence__isnull=False).order_by("-sequence")[:count]
    return [event_row(entry) for entry in newest]


def _counts() -> dict[str, int]:
    """Return how many runners have each status, and how many questions wait."""
    waiting = Approval.objects.filter(state=ApprovalState.WAITING).count()
    return {**Runner.objects.counts_by_status(), "approvals": waiting}


def pong() -> str:
    return _json({"op": "pong"})


def refusal(error: str) -> str:
    return _json({"op": "error", "error": error})


def _keys(topics: Iterable[str], kind: str) -> list[str]:
    return [key for topic in topics for found, _, key in [topic.partition(":")] if found == kind and key]


def _runner_ids(entries: Iterable[Entry]) -> set[str]:
    return {str(entry.data["runner_id"]) for entry in entries if entry.data.get("runner_id")}


def _ids_by_session(sessions: set[str]) -> set[str]:
    if not sessions:
        return set()
    return {
        str(pk)
        for pk in Runner.objects.filter(session__in=[UUID(key) for key in sessions]).values_list("pk", flat=True)
    }


def _session_rows(condition: Q) -> list[Row]:
    return [session_row(session) for session in Session.objects.filter(condition).order_by("pk")[:SNAPSHOT_RUNNERS]]


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))
