"""Give what was said its vectors, in the background."""

from runners.services.embedding.choice import serving_model, wanted_model
from runners.services.embedding.progress import Progress, progress, retry_refused
from runners.services.embedding.upkeep import look_after_models, queue_the_rest
from runners.services.embedding.work import embed_waiting

__all__ = [
    "Progress",
    "embed_waiting",
    "look_after_models",
    "progress",
    "queue_the_rest",
    "retry_refused",
    "serving_model",
    "wanted_model",
]
