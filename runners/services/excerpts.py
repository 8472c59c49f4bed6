"""Show where a text says what was searched for."""

from dataclasses import dataclass
from itertools import pairwise

#: Characters of an excerpt, about three lines of the page.
EXCERPT_CHARACTERS = 280
#: Before the first word found, so that it stands in a sentence.
LEAD_CHARACTERS = 60

START, STOP = "\ue000", "\ue001"


@dataclass(frozen=True)
class Part:
    """Some text of an excerpt: what was searched for, or what stands around it."""

    text: str
    match: bool


def excerpt(text: str, marked: str) -> list[Part]:
    """Return the part of `text` with the most matches; `marked` is the same text with its matches between marks.

    The parts are plain text: whoever shows them escapes them.
    """
    spans = _spans(marked)
    first, last = _window(text, spans)
    inside = [(max(start, first), min(stop, last)) for start, stop in spans if start < last and stop > first]
    edges = [first, *(edge for span in inside for edge in span), last]
    parts = [Part(text[a:b], n % 2 == 1) for n, (a, b) in enumerate(pairwise(edges)) if b > a]
    return [
        *([Part("… ", False)] if first > 0 else []),
        *parts,
        *([Part(" …", False)] if last < len(text) else []),
    ]


def _spans(marked: str) -> list[tuple[int, int]]:
    """Return where the matches stand in the text without marks."""
    spans, place = [], 0
    for n, piece in enumerate(marked.replace(STOP, START).split(START)):
        if n % 2:
            spans.append((place, place + len(piece)))
        place += len(piece)
    return spans


def _window(text: str, spans: list[tuple[int, int]]) -> tuple[int, int]:
    def matches_from(place: int) -> int:
        return sum(place <= start < place + EXCERPT_CHARACTERS - LEAD_CHARACTERS for start, _ in spans)

    best = max((start for start, _ in spans), key=matches_from, default=0)
    first = max(0, best - LEAD_CHARACTERS)
    if first:
        # At the beginning of a word, if one is near.
        gap = text.find(" ", first, best)
        first = gap + 1 if gap >= 0 else first
    return first, min(len(text), first + EXCERPT_CHARACTERS)
