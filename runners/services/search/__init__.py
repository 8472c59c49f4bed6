"""Find again what was said: by its words, by its meaning, or by both."""

from runners.services.search.filters import NO_FILTERS, Filters
from runners.services.search.find import search
from runners.services.search.fusion import HITS_SHOWN
from runners.services.search.question import QUERY_CHARACTERS
from runners.services.search.results import Found, Hit, SessionHits
from runners.services.search.similar import similar_sessions
from runners.services.search.words import RANKED

__all__ = [
    "HITS_SHOWN",
    "NO_FILTERS",
    "QUERY_CHARACTERS",
    "RANKED",
    "Filters",
    "Found",
    "Hit",
    "SessionHits",
    "search",
    "similar_sessions",
]
