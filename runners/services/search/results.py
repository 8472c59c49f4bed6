"""What was found, read from the database a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, overload
from uuid import UUID

from django.contrib.postgres.search import SearchQuery
from django.db.models import F, Func, TextField, Value

from runners.models import MessageChunk, Session
from runners.models.chunk import LANGUAGE, spaced
from runners.services.excerpts import START, STOP, Part, excerpt
from runners.states import SearchMode


@dataclass(frozen=True)
class Hit:
    """A message in which something was found, by its best chunk."""

    chunk_id: int
    message_id: int
    rank: float
    by_words: bool = False
    by_meaning: bool = False
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

    def __init__(
        self,
        query: SearchQuery,
        groups: Sequence[SessionHits],
        *,
        mode: SearchMode = SearchMode.TEXT,
        note: str = "",
        cut: bool = False,
    ) -> None:
        self._query, self._groups = query, groups
        #: How it was searched, which is by words alone where no model can be had.
        self.mode = mode
        #: Why it was not searched as asked for, or not in all, as a sentence; empty: it was.
        self.note = note
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
