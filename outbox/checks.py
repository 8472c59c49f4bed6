"""What is checked at start-up."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register
from django.utils.module_loading import import_string


@register()
def handlers_can_be_imported(**_: Any) -> list[Error]:
    """Name each handler or listener in the settings that is not there."""
    paths = [path for paths in settings.OUTBOX_HANDLERS.values() for path in paths] + list(settings.OUTBOX_LISTENERS)
    errors = []
    for path in paths:
        try:
            import_string(path)
        except ImportError as error:
            errors.append(Error(f"The outbox handler {path} cannot be imported: {error}", id="outbox.E001"))
    return errors
