"""How far the vectors are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from outbox.services import record_act
from runners.models import ChunkVector, EmbeddingModel, WaitingChunk


@dataclass(frozen=True)
class Progress:
    """Of one model: chunks that have a vector, that wait for one, and that were refused alone, given up or not."""

    model: EmbeddingModel
    embedded: int
    waiting: int
    refused: int

    @property
    def paused_until(self) -> datetime | None:
        until = self.model.paused_until
        return until if until and until > timezone.now() else None


def progress(models: Sequence[EmbeddingModel] | None = None) -> list[Progress]:
    """Return how far each model is, all of them if none are given, in two counts."""
    chosen = list(EmbeddingModel.objects.all()) if models is None else list(models)
    ids = [model.pk for model in chosen]
    embedded = dict(ChunkVector.objects.filter(model__in=ids).order_by().values_list("model").annotate(n=Count("pk")))
    queue = WaitingChunk.objects.filter(model__in=ids).order_by().values_list("model")
    waiting = {
        model: (first, refused)
        for model, first, refused in queue.annotate(
            first=Count("pk", filter=Q(attempts__lt=2)), refused=Count("pk", filter=Q(attempts__gte=2))
        )
    }
    return [Progress(model, embedded.get(model.pk, 0), *waiting.get(model.pk, (0, 0))) for model in chosen]


@transaction.atomic
def retry_refused(model: EmbeddingModel, *, actor: str) -> int:
    """Try at once what the model refused, and ask a paused one again; return how many chunks that are."""
    count = WaitingChunk.objects.filter(model=model, attempts__gt=0).update(attempts=1, due_at=timezone.now(), error="")
    EmbeddingModel.objects.filter(pk=model.pk).update(failures=0, paused_until=None)
    record_act(
        "embedding.retry",
        actor=actor,
        target_type="embedding_model",
        target_id=model.pk,
        target_name=model.name,
        after={"chunks": count},
    )
    return count
