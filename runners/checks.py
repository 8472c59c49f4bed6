"""What is checked at start-up."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register
from django.utils.module_loading import import_string


@register()
def backends_and_runtimes_can_be_imported(**_: Any) -> list[Error]:
    """Name each backend, runtime or embedder in the settings that is not there."""
    errors = []
    for setting in ("RUNNER_BACKENDS", "RUNNER_RUNTIMES", "EMBEDDERS"):
        for name, path in getattr(settings, setting).items():
            try:
                import_string(path)
            except ImportError as error:
                errors.append(Error(f"{setting}[{name!r}] cannot be imported: {error}", id="runners.E001"))
    return errors
