"""Search by meaning: the chunks whose vectors are nearest to that of the query."""

import time
from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import F, Func, IntegerField, Q, QuerySet
from django.db.models.functions import Cast
from pgvector.django import CosineDistance, HalfVectorField

from runners.embedders.base import Embedder, Vector
from runners.exceptions import EmbedderUnavailable, TextsRefused
from runners.models import ChunkVector, EmbeddingModel, MessageChunk
from runners.services.embedding.asking import query_vector
from runners.services.embedding.choice import embedder_of
from runners.services.search.filters import Filters
from runners.services.search.fusion import Candidate
from runners.services.search.words import tsquery

#: Chunks that are taken for near; what comes after the hundredth is not what anybody meant.
NEAREST = 100
#: Where the filters leave no more than these, all are compared: an index that passes most of them over is slower.
COMPARED = 5_000
#: A model that did not answer is not asked again at once: everybody who searches would wait for it.
REST_SECONDS = 15.0

log = structlog.get_logger(__name__)
_resting: dict[int, float] = {}


def vector_of(model: EmbeddingModel, text: str) -> Vector | None:
    """Return the vector of a query; None: the model cannot be had just now."""
    if _resting.get(model.pk, 0.0) > time.monotonic():
        return None
    try:
        return _remembered(model.pk, model.name, text)
    except (EmbedderUnavailable, TextsRefused) as trouble:
        log.warning("query_not_embedded", model=model.name, reason=trouble.message)
        if isinstance(trouble, EmbedderUnavailable):
            _resting[model.pk] = time.monotonic() + REST_SECONDS
        return None


@lru_cache(maxsize=1_000)
def _remembered(model_id: int, name: str, text: str) -> Vector:
    """Embed a query once: pages of one answer, and people of one mind, ask the same."""
    model = EmbeddingModel.objects.get(pk=model_id)
    return query_vector(model, embedder_of(model), text)


def by_meaning(
    model: EmbeddingModel,
    vector: Vector,
    filters: Filters,
    *,
    excluded: str = "",
    among: Sequence[int] | None = None,
    but: Q | None = None,
) -> list[Candidate]:
    """Return the nearest chunks, nearest first; only those `among` some ids, and without the excluded words.

    What is farther than the model's floor has nothing to do with the query, and is left out.
    """
    found = ChunkVector.objects.filter(filters.condition("chunk__"), model=model)
    if but is not None:
        found = found.exclude(but)
    if excluded:
        query = tsquery(excluded)
        # Of nothing but very common words no condition is left.
        found = found.alias(left=Func(query, function="numnode", output_field=IntegerField()))
        found = found.filter(Q(left=0) | Q(chunk__words=query))
    if among is None and filters:
        chunks = MessageChunk.objects.filter(filters.condition()).order_by()
        few = list(chunks.values_list("pk", flat=True)[: COMPARED + 1])
        among = few if len(few) <= COMPARED else None
    rows = _by_index(found, model, vector) if among is None else _one_by_one(found, among, vector)
    farthest = 1 - _floor(model)
    # The index may give them slightly out of order.
    near = sorted((row for row in rows if row[3] <= farthest), key=lambda row: (row[3], -row[1]))
    return [Candidate(*row[:3]) for row in near]


def _floor(model: EmbeddingModel) -> float:
    """Return from which cosine on texts count as near; its vectors can be compared though the model is gone."""
    try:
        return embedder_of(model).floor
    except EmbedderUnavailable:
        return Embedder.floor


Row = tuple[UUID, int, int, float]
_COLUMNS = ("chunk__message__session_id", "chunk_id", "chunk__message_id", "distance")


def _by_index(found: QuerySet[ChunkVector], model: EmbeddingModel, vector: Vector) -> list[Row]:
    """Read from the model's index. It goes on until the conditions have left enough (pgvector's iterative scan)."""
    column = Cast("embedding", HalfVectorField(dimensions=model.dimension))
    nearest = found.annotate(distance=CosineDistance(column, list(vector))).order_by("distance")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', %s, true)",
            [str(NEAREST)],
        )
        return list(nearest.values_list(*_COLUMNS)[:NEAREST])


def _one_by_one(found: QuerySet[ChunkVector], among: Sequence[int], vector: Vector) -> list[Row]:
    """Compare some chunks. Without the cast, so that no index is thought of."""
    nearest = found.filter(chunk__in=list(among)).annotate(distance=CosineDistance(F("embedding"), list(vector)))
    return list(nearest.order_by("distance").values_list(*_COLUMNS)[:NEAREST])
