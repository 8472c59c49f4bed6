"""Register the model of the settings, have it take over once it is ready, and remove the one before."""

from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from runners.embedders import wanted_embedder
from runners.embedders.base import Embedder
from runners.models import EmbeddingModel, WaitingChunk
from runners.services.embedding.choice import find_model, serving_instead_of
from runners.sql import lock_for_transaction
from runners.sql_vectors import EMBEDDING_LOCK, create_index, delete_some_vectors, drop_index, queue_missing

#: Vectors of one statement when a model is removed.
REMOVED_AT_ONCE = 5_000
#: A model is removed no sooner after another took over: web processes may have asked a moment ago which one serves.
REST = timedelta(minutes=1)

log = structlog.get_logger(__name__)


def look_after_models() -> list[EmbeddingModel]:
    """Bring the models in step with the settings; return those that chunks get vectors of, the searched one first."""
    embedder = wanted_embedder()
    with transaction.atomic():
        lock_for_transaction(EMBEDDING_LOCK, 0)
        if embedder is None:
            # What there is stays, for a change of mind, but nothing more is queued.
            EmbeddingModel.objects.filter(in_use=True).update(in_use=False)
            WaitingChunk.objects.all().delete()
            return []
        wanted = find_model(embedder) or _register(embedder)
        serving = serving_instead_of(wanted)
        used = [serving, wanted] if serving and serving != wanted else [wanted]
        _use_only(used)
    if wanted.ready_at and wanted.ready_at < timezone.now() - REST:
        remove_others(wanted)
    return used


def _register(embedder: Embedder) -> EmbeddingModel:
    model = EmbeddingModel.objects.create(
        embedder=settings.EMBEDDER, name=embedder.model, shortened=bool(embedder.dimension)
    )
    if embedder.dimension:
        set_dimension(model, embedder.dimension)
    log.info("embedding_model_registered", model=model.name, waiting=queue_missing(model.pk))
    return model


def queue_the_rest() -> int:
    """Have what no model in use has a vector of wait for it: what a race left out, or an import. Return how many."""
    return sum(queue_missing(model.pk) for model in EmbeddingModel.objects.filter(in_use=True))


def set_dimension(model: EmbeddingModel, dimension: int) -> None:
    """Note the dimension of a model's vectors and make their index; the first one to tell it is right.

    Before the model's first vector is written: making the index waits for those that write vectors.
    """
    with transaction.atomic():
        lock_for_transaction(EMBEDDING_LOCK, 0)
        model.refresh_from_db()
        if model.dimension is None:
            create_index(model.pk, dimension)
            model.dimension = dimension
            model.save(update_fields=["dimension"])


def _use_only(used: list[EmbeddingModel]) -> None:
    ids = [model.pk for model in used]
    given_up = EmbeddingModel.objects.filter(in_use=True).exclude(pk__in=ids)
    WaitingChunk.objects.filter(model__in=list(given_up.values_list("pk", flat=True))).delete()
    given_up.update(in_use=False)
    for model in EmbeddingModel.objects.filter(pk__in=ids, in_use=False):
        # It was left alone for a while: what was said meanwhile waits for it too.
        EmbeddingModel.objects.filter(pk=model.pk).update(in_use=True, ready_at=None)
        queue_missing(model.pk)


def note_if_ready(model: EmbeddingModel) -> bool:
    """Let a model be searched by if every chunk has its vector, those apart that were refused alone; say whether so.

    Messages that were entered by transactions older than the model are found here.
    """
    with transaction.atomic():
        lock_for_transaction(EMBEDDING_LOCK, 0)
        waiting = WaitingChunk.objects.filter(model=model, attempts__lt=2)
        if waiting.exists() or (queue_missing(model.pk) and waiting.exists()):
            return False
        ready = EmbeddingModel.objects.filter(pk=model.pk, ready_at__isnull=True, dimension__isnull=False)
        if ready.update(ready_at=timezone.now()):
            log.info("embedding_model_ready", model=model.name)
    return True


def remove_others(wanted: EmbeddingModel) -> None:
    """Remove the vectors of models that nobody searches any more: their index first, which is then not kept up."""
    for model in EmbeddingModel.objects.exclude(pk=wanted.pk).filter(in_use=False):
        if model.dimension:
            drop_index(model.pk, model.dimension)
        while delete_some_vectors(model.pk, REMOVED_AT_ONCE):
            pass
        WaitingChunk.objects.filter(model=model).delete()
        model.delete()
        log.info("embedding_model_removed", model=model.name)
