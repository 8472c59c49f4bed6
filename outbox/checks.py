"""What is checked at start-up."""

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import Error, register
from django.utils.module_loading import import_string


@register()
def handlers_can_be_imported(**_: Any) -> list[Error]:
    """Name each handler or listener in the settings that is not there."""
    paths = [path for paths in settings.OUTBOX_HANDLERS.values() for path in paths]
    paths += [*settings.OUTBOX_BATCH_HANDLERS, *settings.OUTBOX_LISTENERS]
    errors = []
    for path in paths:
        try:
            import_string(path)
        except ImportError as error:
            errors.append(Error(f"The outbox handler {path} cannot be imported: {error}", id="outbox.E001"))
    return errors


@register()
def encryption_keys_are_keys(**_: Any) -> list[Error]:
    """Say which of the keys that encrypt secrets at rest is none."""
    errors = []
    for number, key in enumerate(settings.ENCRYPTION_KEYS, 1):
        try:
            Fernet(key)
        except ValueError:
            errors.append(
                Error(
                    f"Key {number} of STRATAVORE_ENCRYPTION_KEYS is no Fernet key: 32 random bytes in URL-safe base64.",
                    id="outbox.E002",
                )
            )
    return errors
