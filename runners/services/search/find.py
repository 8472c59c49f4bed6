"""Search by words and by meaning, and make one answer of both."""

from dataclasses import dataclass

from django.conf import settings

from runners.embedders import wanted_embedder
from runners.embedders.base import Vector
from runners.models import EmbeddingModel
from runners.services.embedding.choice import serving_model
from runners.services.embedding.progress import progress
from runners.services.search.filters import NO_FILTERS, Filters
from runners.services.search.fusion import Candidate, fuse
from runners.services.search.meaning import by_meaning, vector_of
from runners.services.search.question import Question, read
from runners.services.search.results import Found
from runners.services.search.words import by_words, tsquery, with_phrases
from runners.states import SearchMode

OFF = "Search by meaning is switched off (STRATAVORE_EMBEDDER is none)."
NOTHING_YET = "Nothing that was said has a vector yet: the search went by words alone."
SILENT = "The model that compares meanings does not answer just now: the search went by words alone."


@dataclass(frozen=True)
class _Compass:
    """What a search by meaning needs: the query's direction among the vectors of one model; or why there is none."""

    model: EmbeddingModel | None = None
    vector: Vector | None = None
    note: str = ""


def search(text: str, filters: Filters = NO_FILTERS, mode: SearchMode = SearchMode.HYBRID) -> Found:
    """Find sessions by what was said in them: words, "phrases", -exclusions and OR.

    By meaning too, unless `mode` is text: then words may differ, but phrases and exclusions still hold. Where no model
    can be had the words alone are searched, and the answer says so. Whatever is typed is a search, if perhaps for
    nothing.
    """
    question = read(text)
    compass = _compass(question) if mode != SearchMode.TEXT and question.meaning else _Compass()
    if compass.model is None or compass.vector is None:
        words, cut = by_words(question.words, filters)
        return Found(tsquery(question.words), fuse(words, []), note=compass.note, cut=cut)
    words, cut = by_words(question.words, filters) if mode == SearchMode.HYBRID else ([], False)
    near = by_meaning(
        compass.model,
        compass.vector,
        filters,
        excluded=question.excluded,
        among=_among(question, filters, words if mode == SearchMode.HYBRID else None),
    )
    return Found(tsquery(question.words), fuse(words, near), mode=mode, note=compass.note, cut=cut)


def _compass(question: Question) -> _Compass:
    if why := why_not():
        return _Compass(note=why)
    model = serving_model()
    if model is None:
        return _Compass(note=NOTHING_YET)
    vector = vector_of(model, question.meaning)
    return _Compass(model, vector, how_far(model) if vector else SILENT)


def why_not() -> str:
    """Return why nothing can be searched by meaning here, as a sentence; empty: it can."""
    embedder = wanted_embedder() if settings.EMBEDDER in settings.EMBEDDERS else None
    if embedder is None:
        return OFF
    missing = embedder.missing()
    return f"{missing} The search went by words alone." if missing else ""


def how_far(model: EmbeddingModel) -> str:
    """Return what a search by this model does not see yet, as a sentence; empty: it sees all."""
    if model.ready_at:
        return ""
    (found,) = progress([model])
    if found.embedded == 0:
        return NOTHING_YET
    return f"Of {found.waiting:,} passages the meaning is not known yet." if found.waiting else ""


def _among(question: Question, filters: Filters, words: list[Candidate] | None) -> list[int] | None:
    """Return the chunks that have the phrases; None: there are no phrases, any chunk will do."""
    if not question.phrases:
        return None
    if question.only_phrases and words is not None:
        return [one.chunk_id for one in words]
    return with_phrases(question.phrases, filters)
