"""Which model makes vectors, and which one is searched by."""

from django.conf import settings

from runners.embedders import get_embedder, wanted_embedder
from runners.embedders.base import Embedder
from runners.models import EmbeddingModel


def wanted_model() -> EmbeddingModel | None:
    """Return the model that the settings choose, as it is registered; None: none, or not yet."""
    embedder = wanted_embedder()
    return find_model(embedder) if embedder else None


def find_model(embedder: Embedder) -> EmbeddingModel | None:
    """Return the row of the settings' embedder. Where they name no dimension it is the newest of that name."""
    found = EmbeddingModel.objects.filter(embedder=settings.EMBEDDER, name=embedder.model)
    found = found.filter(dimension=embedder.dimension) if embedder.dimension else found.filter(shortened=False)
    return found.order_by("-pk").first()


def embedder_of(model: EmbeddingModel) -> Embedder:
    """Return what makes vectors of a registered model, also when it is no longer the settings' choice.

    Raises EmbedderUnavailable.
    """
    return get_embedder(model.embedder, model.name, model.dimension if model.shortened else None)


def serving_model() -> EmbeddingModel | None:
    """Return the model whose vectors are searched: the wanted one as soon as it has all, until then the one before.

    A first model serves from its first vector on. None: there are no vectors to search, or none are wanted.
    """
    wanted = wanted_model()
    return serving_instead_of(wanted) if wanted else None


def serving_instead_of(wanted: EmbeddingModel) -> EmbeddingModel | None:
    """Return the model that is searched by while `wanted` is the one of the settings."""
    if wanted.ready_at:
        return wanted
    before = EmbeddingModel.objects.filter(ready_at__isnull=False, in_use=True).order_by("-ready_at").first()
    return before or (wanted if wanted.dimension else None)
