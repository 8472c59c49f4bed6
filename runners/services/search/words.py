"""Search by words: PostgreSQL's full text."""

from uuid import UUID

from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db.models import F, Value

from runners.models import MessageChunk
from runners.models.chunk import LANGUAGE
from runners.services.search.filters import Filters
from runners.services.search.fusion import Candidate

#: Chunks that are ranked, the newest of those that match: ranking reads each one's words.
RANKED = 2_000


def tsquery(websearch: str) -> SearchQuery:
    return SearchQuery(websearch, config=LANGUAGE, search_type="websearch")


def by_words(websearch: str, filters: Filters) -> tuple[list[Candidate], bool]:
    """Return the chunks that have all words, best first, and whether older ones were left out."""
    query = tsquery(websearch)
    rank = SearchRank(F("words"), query, cover_density=True, normalization=Value(1))
    rows: list[tuple[UUID, int, int, float]] = list(
        MessageChunk.objects.filter(filters.condition(), words=query)
        .order_by("-pk")
        .annotate(rank=rank)
        .values_list("message__session_id", "pk", "message_id", "rank")[: RANKED + 1]
    )
    # Of equals the newer goes first.
    best = sorted(rows[:RANKED], key=lambda row: (-row[3], -row[1]))
    return [Candidate(*row[:3]) for row in best], len(rows) > RANKED


def with_phrases(websearch: str, filters: Filters) -> list[int]:
    """Return the newest chunks that have the phrases."""
    found = MessageChunk.objects.filter(filters.condition(), words=tsquery(websearch))
    return list(found.order_by("-pk").values_list("pk", flat=True)[:RANKED])
