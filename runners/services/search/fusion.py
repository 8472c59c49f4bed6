"""Make one list of two: reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar
from uuid import UUID

from runners.services.search.results import Hit, SessionHits

Key = TypeVar("Key", UUID, int)

#: Of the paper: a first place is worth little more than a second one.
K = 60
#: Of one session on a page of results.
HITS_SHOWN = 3


class Candidate(NamedTuple):
    """A chunk that one way of searching found. Their order says how well."""

    session_id: UUID
    chunk_id: int
    message_id: int


def fuse(words: Sequence[Candidate], meaning: Sequence[Candidate]) -> list[SessionHits]:
    """Return the sessions, best first, each with its messages, best first; a message is shown by its best chunk.

    Sessions are placed by their best chunk in either list, so that a long one does not crowd out the others.
    """
    sessions = _scores((one.session_id for one in words), (one.session_id for one in meaning))
    messages = _scores((one.message_id for one in words), (one.message_id for one in meaning))
    by_words, by_meaning = ({one.message_id for one in found} for found in (words, meaning))
    hits: dict[UUID, dict[int, Hit]] = {}
    for session_id, chunk_id, message_id in (*words, *meaning):
        hit = Hit(
            chunk_id,
            message_id,
            messages[message_id],
            by_words=message_id in by_words,
            by_meaning=message_id in by_meaning,
        )
        hits.setdefault(session_id, {}).setdefault(message_id, hit)
    return [
        SessionHits(session_id, sorted(found.values(), key=lambda hit: -hit.rank)[:HITS_SHOWN], len(found))
        for session_id in sorted(sessions, key=lambda session_id: -sessions[session_id])
        if (found := hits[session_id])
    ]


def _scores(*lists: Iterable[Key]) -> dict[Key, float]:
    scores: dict[Key, float] = {}
    for found in lists:
        for place, key in enumerate(dict.fromkeys(found), start=1):
            scores[key] = scores.get(key, 0.0) + 1 / (K + place)
    return scores
