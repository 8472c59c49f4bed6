"""Embed what waits. Any number of workers share it; none holds a transaction open while a model works."""

import random
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from runners.embedders.base import Embedder
from runners.exceptions import EmbedderUnavailable, TextsRefused
from runners.models import EmbeddingModel, WaitingChunk
from runners.services.embedding.asking import vectors_of
from runners.services.embedding.choice import embedder_of
from runners.services.embedding.upkeep import look_after_models, note_if_ready, set_dimension
from runners.sql_vectors import Claimed, claim, insert_vectors

#: A turn takes up new work for so long. With the last call it stays below what the broker takes for a lost task.
TURN_SECONDS = 20.0
#: A chunk whose worker died is taken by another after so long: a call waits 60 s for an answer.
LEASE_SECONDS = 120.0
#: A model that cannot be had is asked again after 5 s, 10 s, 20 s, …
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 600.0
#: An endpoint that asks for a longer wait is asked again all the same after so long.
LONGEST_ASKED_PAUSE_SECONDS = 3_600.0
#: A chunk that is refused alone is tried again after 1, 8, 64 minutes and 8.5 hours, and then given up.
RETRY_MINUTES, ATTEMPTS = 8, 5
#: So many refusals one after the other are about no single text: a wrong name of the model, more likely.
REFUSALS = 8

log = structlog.get_logger(__name__)
_turn = threading.Lock()


def embed_waiting() -> bool:
    """Embed what is due, for a turn at most; return whether there is more to do now.

    One turn at a time in a process: a call during it returns at once, as that turn sees what is new.
    """
    if not _turn.acquire(blocking=False):
        return False
    try:
        ends = time.monotonic() + TURN_SECONDS
        # The searched one first: it is to know what has just been said, while another is made ready.
        left = [_embed_for(model, ends) for model in look_after_models()]
        return any(left)
    finally:
        _turn.release()


def _embed_for(model: EmbeddingModel, ends: float) -> bool:
    """Embed what waits for one model; return whether the turn ended before the work."""
    if model.paused_until and model.paused_until > timezone.now():
        return False
    try:
        embedder = embedder_of(model)
        if missing := embedder.missing():
            raise EmbedderUnavailable(missing)
        refusals = 0
        while batch := claim(model.pk, room=embedder.batch_size, lease_seconds=LEASE_SECONDS):
            why = _embed(model, embedder, batch)
            refusals = refusals + 1 if why else 0
            if refusals == REFUSALS:
                raise EmbedderUnavailable(f"It refuses whatever it is given: {why}")
            if time.monotonic() > ends:
                return True
    except EmbedderUnavailable as trouble:
        _pause(model, trouble)
        return False
    if model.ready_at is None:
        note_if_ready(model)
    return False


def _embed(model: EmbeddingModel, embedder: Embedder, batch: Sequence[Claimed]) -> str:
    """Give a claimed batch its vectors; return why it was refused, or nothing.

    Raises EmbedderUnavailable, with the batch free for others again.
    """
    there = [chunk for chunk in batch if chunk.text is not None]
    try:
        vectors = vectors_of(model, embedder, [chunk.text or "" for chunk in there])
    except TextsRefused as refusal:
        _refused(there, refusal.message)
        return refusal.message
    except EmbedderUnavailable:
        WaitingChunk.objects.filter(pk__in=[chunk.id for chunk in batch]).update(due_at=timezone.now())
        raise
    if vectors and model.dimension is None:
        set_dimension(model, len(vectors[0]))
    with transaction.atomic():
        insert_vectors(model.pk, [chunk.chunk_id for chunk in there], vectors)
        WaitingChunk.objects.filter(pk__in=[chunk.id for chunk in batch]).delete()
        EmbeddingModel.objects.filter(pk=model.pk).update(
            embedded_at=timezone.now(), failures=0, paused_until=None, last_error=""
        )
    return ""


def _refused(batch: Sequence[Claimed], why: str) -> None:
    """Have each chunk of a refused batch tried alone; one that was alone waits, longer each time, or is given up."""
    now = timezone.now()
    for chunk in batch:
        attempts = chunk.attempts + 1
        alone = len(batch) == 1 and chunk.attempts > 0
        due = now + timedelta(minutes=RETRY_MINUTES ** (attempts - 2)) if alone else now
        WaitingChunk.objects.filter(pk=chunk.id).update(
            attempts=attempts, due_at=None if attempts > ATTEMPTS else due, error=why[:2_000]
        )


def _pause(model: EmbeddingModel, trouble: EmbedderUnavailable) -> None:
    """Leave a model alone for a while, the longer the more often it failed; all workers keep to it."""
    wait = min(FIRST_PAUSE_SECONDS * 2 ** min(model.failures, 20), LONGEST_PAUSE_SECONDS) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
    if trouble.retry_after is not None:
        wait = min(trouble.retry_after, LONGEST_ASKED_PAUSE_SECONDS)
    log.warning("embedding_paused", model=model.name, reason=trouble.message, seconds=round(wait))
    EmbeddingModel.objects.filter(pk=model.pk).update(
        failures=F("failures") + 1,
        paused_until=timezone.now() + timedelta(seconds=wait),
        last_error=trouble.message[:2_000],
    )
