"""Vectors of what was said: which models made them, the vectors, and what waits for one."""

from django.db import models
from django.db.models import Q
from pgvector.django import HalfVectorField

from runners.models.chunk import MessageChunk


class EmbeddingModel(models.Model):
    """A model as one embedder has it: whose vectors may be compared with each other, and with no others.

    Each has an index of its own, made when its dimension is known (sql_vectors.py).
    """

    embedder = models.CharField(max_length=40, help_text="By which setting it is reached.")
    name = models.CharField(max_length=200)
    dimension = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: until its first answer.")
    shortened = models.BooleanField(default=False, help_text="The dimension is asked for, not the model's own.")
    in_use = models.BooleanField(default=True, help_text="What is said gets a vector of it.")
    created_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True, blank=True, help_text="When all that there was had its vector.")
    embedded_at = models.DateTimeField(null=True, blank=True, help_text="When it last gave vectors.")
    failures = models.PositiveIntegerField(default=0, help_text="Since it last gave vectors.")
    paused_until = models.DateTimeField(null=True, blank=True, help_text="Not asked again before.")
    last_error = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                name="embedding_model_once", fields=["embedder", "name", "dimension"], nulls_distinct=False
            ),
            models.CheckConstraint(
                name="embedding_dimension_indexable",
                condition=Q(dimension__isnull=True) | Q(dimension__gte=1, dimension__lte=4000),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.dimension or '?'})"


class ChunkVector(models.Model):
    """The vector of a chunk by one model. Half precision: of four decimals none counts, and an index is half as large.

    Of no fixed dimension, as each model has its own; the index of a model takes only its own.
    """

    chunk = models.ForeignKey(MessageChunk, on_delete=models.CASCADE, related_name="vectors", db_index=False)
    model = models.ForeignKey(EmbeddingModel, on_delete=models.CASCADE, related_name="vectors", db_index=False)
    embedding = HalfVectorField()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(name="chunk_vector_once", fields=["chunk", "model"])]

    def __str__(self) -> str:
        return f"chunk {self.chunk_id} by {self.model_id}"


class WaitingChunk(models.Model):
    """A chunk that waits for its vector; written with the chunk, gone with the vector.

    `due_at` is moved on when it is taken, so that another worker takes it if the first one dies. Without foreign keys
    in the database: their checks would cost each message that is entered, and one left over is dropped when taken.
    """

    chunk = models.ForeignKey(
        MessageChunk, on_delete=models.CASCADE, related_name="waiting", db_index=False, db_constraint=False
    )
    model = models.ForeignKey(
        EmbeddingModel, on_delete=models.CASCADE, related_name="waiting", db_index=False, db_constraint=False
    )
    due_at = models.DateTimeField(null=True, blank=True, help_text="Empty: given up.")
    attempts = models.PositiveIntegerField(default=0, help_text="From one on it is tried alone.")
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(name="waiting_chunk_once", fields=["chunk", "model"])]

    def __str__(self) -> str:
        return f"chunk {self.chunk_id} for {self.model_id}"
