"""The backends named in settings.RUNNER_BACKENDS."""

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from runners.backends.base import Backend
from runners.exceptions import InvalidRequest


@cache
def get_backend(name: str) -> Backend:
    """Return the backend `name`, or raise InvalidRequest naming those there are."""
    try:
        path = settings.RUNNER_BACKENDS[name]
    except KeyError:
        known = sorted(settings.RUNNER_BACKENDS)
        raise InvalidRequest(f"There is no backend {name!r}; there are {', '.join(known)}.", field="backend") from None
    backend: Backend = import_string(path)()
    return backend


def all_backends() -> list[Backend]:
    """Return every backend, in the order of the settings."""
    return [get_backend(name) for name in settings.RUNNER_BACKENDS]
