"""Find again what was said: full text over all messages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, overload
from uuid import UUID

from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db.models import F, Func, Q, QuerySet, TextField, Value

from runners.models import MessageChunk, Session
from runners.models.chunk import LANGUAGE, SEPARATORS, spaced
from runners.services.excerpts import START, STOP, Part, excerpt

#: Longer ones are refused or cut by those who ask.
QUERY_CHARACTERS = 500
#: Chunks that are ranked, the newest of those that match: ranking reads each one's words.
RANKED = 2_000
#: Of one session on a page of results.
HITS_SHOWN = 3

_QUOTED_OR_WORD = re.compile(r'"[^"]*"?|[^\s"]+')
_SPACES = str.maketrans(dict.fromkeys(SEPARATORS + "\x00", " "))


@dataclass(frozen=True)
class Filters:
    """What a search is narrowed to; an empty one narrows nothing. `until` itself is outside."""

    project: str = ""
    agent: str = ""
    backend: str = ""
    tool: str = ""
    role: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return self != Filters()

    def condition(self) -> Q:
        """Return the condition on chunks."""
        columns = {
            "message__session__project__name": self.project,
            "message__runner__agent_name": self.agent,
            "message__session__backend": self.backend,
            "message__tool_name": self.tool,
            "message__role": self.role,
            "message__at__gte": self.since,
            "message__at__lt": self.until,
        }
        return Q(**{column: value for column, value in columns.items() if value})


@dataclass(frozen=True)
class Hit:
    """A message in which something was found, by its best chunk."""

    chunk_id: int
    message_id: int
    rank: float
    role: str = ""
    tool_name: str = ""
    at: datetime | None = None
    excerpt: Sequence[Part] = ()


@dataclass(frozen=True)
class SessionHits:
    """A session in which something was found: its best hits, and in how many messages there are any."""

    session_id: UUID
    hits: Sequence[Hit]
    hit_count: int
    session: Session | None = None


class Found(Sequence[SessionHits]):
    """The sessions found, best first. A slice of it is read from the database with its excerpts."""

    def __init__(self, query: SearchQuery, groups: Sequence[SessionHits], *, cut: bool) -> None:
        self._query, self._groups = query, groups
        #: More matched than was ranked: older matches are left out.
        self.cut = cut

    def __len__(self) -> int:
        return len(self._groups)

    @overload
    def __getitem__(self, key: int) -> SessionHits: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[SessionHits]: ...
    def __getitem__(self, key: int | slice) -> SessionHits | Sequence[SessionHits]:
        if isinstance(key, slice):
            return self._read(self._groups[key])
        return self._read([self._groups[key]])[0]

    def _read(self, groups: Sequence[SessionHits]) -> list[SessionHits]:
        ids = [group.session_id for group in groups]
        sessions = Session.objects.select_related("project").in_bulk(ids)
        texts = _texts([hit.chunk_id for group in groups for hit in group.hits], self._query)
        # A session may be deleted between the two reads.
        return [
            replace(group, session=sessions[group.session_id], hits=_with_texts(group.hits, texts))
            for group in groups
            if group.session_id in sessions
        ]


def search(text: str, filters: Filters = Filters()) -> Found:
    """Find sessions by what was said in them: words, "phrases", -exclusions and OR.

    Whatever is typed is a search, if perhaps for nothing.
    """
    query = SearchQuery(websearch(text), config=LANGUAGE, search_type="websearch")
    rank = SearchRank(F("words"), query, cover_density=True, normalization=Value(1))
    rows = list(
        _matching(query, filters)
        .order_by("-pk")
        .annotate(rank=rank)
        .values_list("message__session_id", "pk", "message_id", "rank")[: RANKED + 1]
    )
    return Found(query, _by_session(rows[:RANKED]), cut=len(rows) > RANKED)


def websearch(text: str) -> str:
    """Return the query with names written as the phrases that the index holds: app.py is "app py"."""
    return " ".join(_one(piece) for piece in _QUOTED_OR_WORD.findall(text[:QUERY_CHARACTERS]))


def _one(piece: str) -> str:
    spaced_piece = piece.translate(_SPACES)
    if spaced_piece == piece or piece.startswith('"'):
        return spaced_piece
    minus = "-" if piece.startswith("-") else ""
    return f'{minus}"{spaced_piece.removeprefix("-")}"'


def _matching(query: SearchQuery, filters: Filters) -> QuerySet[MessageChunk]:
    return MessageChunk.objects.filter(filters.condition(), words=query)


def _by_session(rows: Sequence[tuple[UUID, int, int, float]]) -> list[SessionHits]:
    """Group hits by session, best first, a message once; of equals the newer goes first."""
    sessions: dict[UUID, dict[int, Hit]] = {}
    for session_id, chunk_id, message_id, rank in sorted(rows, key=lambda row: (-row[3], -row[1])):
        sessions.setdefault(session_id, {}).setdefault(message_id, Hit(chunk_id, message_id, rank))
    return [
        SessionHits(session_id, list(hits.values())[:HITS_SHOWN], len(hits)) for session_id, hits in sessions.items()
    ]


def _texts(chunk_ids: Sequence[int], query: SearchQuery) -> dict[int, dict[str, Any]]:
    # All of the text comes back, with marks; in its spaced form, as only there the words stand alone.
    marked = Func(
        Value(LANGUAGE),
        spaced(F("text")),
        query,
        Value(f"HighlightAll=true, StartSel={START}, StopSel={STOP}"),
        function="ts_headline",
        template="%(function)s(%(expressions)s)",
        output_field=TextField(),
    )
    names = ("pk", "text", "marked", "message__role", "message__tool_name", "message__at")
    rows = MessageChunk.objects.filter(pk__in=chunk_ids).annotate(marked=marked).values(*names)
    return {row["pk"]: row for row in rows}


def _with_texts(hits: Sequence[Hit], texts: dict[int, dict[str, Any]]) -> list[Hit]:
    return [
        replace(
            hit,
            role=row["message__role"],
            tool_name=row["message__tool_name"],
            at=row["message__at"],
            excerpt=excerpt(row["text"], row["marked"]),
        )
        for hit in hits
        if (row := texts.get(hit.chunk_id))
    ]
