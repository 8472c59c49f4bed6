"""Secrets at rest: what a stolen copy of the database must not give away."""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from outbox.exceptions import SecretUnreadable


def encrypt(text: str) -> str:
    """Return `text` encrypted with the first of ENCRYPTION_KEYS."""
    return _keys().encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Return what was encrypted, with whichever of ENCRYPTION_KEYS. Raises SecretUnreadable."""
    try:
        return _keys().decrypt(token.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable("A secret was encrypted with a key that is not among ENCRYPTION_KEYS.") from None


def _keys() -> MultiFernet:
    keys: list[str] = settings.ENCRYPTION_KEYS or [_derived(settings.SECRET_KEY)]
    return MultiFernet([Fernet(key) for key in keys])


def _derived(secret: str) -> str:
    """Return a Fernet key made of the secret key, for installations that set no key of its own."""
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"stratavore encryption at rest")
    return base64.urlsafe_b64encode(derive.derive(secret.encode())).decode()
