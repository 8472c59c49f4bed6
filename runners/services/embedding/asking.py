"""Ask an embedder, whoever wrote it."""

from collections.abc import Callable, Sequence

import structlog

from runners.embedders import checked
from runners.embedders.base import Embedder, Vector
from runners.exceptions import EmbedderUnavailable, TextsRefused
from runners.models import EmbeddingModel

log = structlog.get_logger(__name__)


def vectors_of(model: EmbeddingModel, embedder: Embedder, texts: Sequence[str]) -> Sequence[Vector]:
    """Return the vectors of passages. Raises EmbedderUnavailable, TextsRefused."""
    return _ask(model, embedder, lambda: embedder.embed(texts), len(texts)) if texts else []


def query_vector(model: EmbeddingModel, embedder: Embedder, text: str) -> Vector:
    """Return the vector of a query. Raises EmbedderUnavailable, TextsRefused."""
    return _ask(model, embedder, lambda: [embedder.embed_query(text)], 1)[0]


def _ask(
    model: EmbeddingModel, embedder: Embedder, ask: Callable[[], Sequence[Vector]], count: int
) -> Sequence[Vector]:
    try:
        vectors = ask()
    except (EmbedderUnavailable, TextsRefused):
        raise
    except Exception as error:
        # An embedder may be anybody's class: what it did not foresee stops its turn, and nothing else.
        log.exception("embedder_failed", model=model.name)
        raise EmbedderUnavailable(f"{model.name} failed: {type(error).__name__}: {error}") from error
    return checked(embedder, vectors, count=count, dimension=model.dimension)
