"""The embedder that the settings choose, and those that made what is stored."""

import math
from collections.abc import Sequence
from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from runners.embedders.base import Embedder, Vector
from runners.exceptions import EmbedderUnavailable, TextsRefused

#: pgvector's index of half-precision vectors holds no longer ones.
MAX_DIMENSION = 4_000


def wanted_embedder() -> Embedder | None:
    """Return the embedder of the settings; None where they choose none."""
    return None if settings.EMBEDDER == "none" else get_embedder(settings.EMBEDDER)


def get_embedder(name: str, model: str = "", dimension: int | None = None) -> Embedder:
    """Return the embedder `name`: as the settings have it, or for an older model. Raises EmbedderUnavailable."""
    chosen = _made(name, "", None)
    as_chosen = not model or (model, dimension) == (chosen.model, chosen.dimension)
    return chosen if as_chosen else _made(name, model, dimension)


@cache
def _made(name: str, model: str, dimension: int | None) -> Embedder:
    try:
        path = settings.EMBEDDERS[name]
    except KeyError:
        raise EmbedderUnavailable(f"There is no embedder {name!r} any more.") from None
    embedder: Embedder = import_string(path)(model, dimension)
    if model and embedder.model != model:
        raise EmbedderUnavailable(f"The embedder {name!r} no longer has the model {model!r}.")
    return embedder


def checked(embedder: Embedder, vectors: Sequence[Vector], *, count: int, dimension: int | None) -> Sequence[Vector]:
    """Return what an embedder answered if it can be stored and compared. Raises EmbedderUnavailable, TextsRefused.

    `dimension` is that of the vectors that are stored already.
    """
    if len(vectors) != count:
        raise EmbedderUnavailable(f"{embedder.model} gave {len(vectors)} vectors for {count} texts.")
    wanted = dimension or embedder.dimension or (len(vectors[0]) if vectors else 0)
    for vector in vectors:
        if len(vector) != wanted or not 0 < wanted <= MAX_DIMENSION:
            raise EmbedderUnavailable(
                f"{embedder.model} gave a vector of {len(vector)} numbers, where "
                + (f"{wanted} were due." if len(vector) != wanted else f"at most {MAX_DIMENSION} can be searched.")
            )
        length = math.hypot(*vector)
        # NaN and infinity end up here too. A vector without a direction is near nothing.
        if not 0 < length < math.inf:
            raise TextsRefused(f"{embedder.model} gave a vector without a direction.")
    return vectors
