"""HMACs of the audit log: canonical JSON, signed with a key that is known by its id."""

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings

from outbox.exceptions import UnknownAuditKey


def signing_key() -> str:
    """Return the id of the key that signs: the first of AUDIT_KEYS. The others only verify."""
    return next(iter(settings.AUDIT_KEYS))


def sign(content: Mapping[str, Any], key_id: str) -> str:
    """Return the HMAC-SHA256 of `content` in hex. Raises UnknownAuditKey."""
    try:
        key = settings.AUDIT_KEYS[key_id]
    except KeyError:
        raise UnknownAuditKey(key_id) from None
    return hmac.digest(key.encode(), canonical(content), sha256).hex()


def is_signed(content: Mapping[str, Any], key_id: str, mac: str) -> bool:
    """Return whether `mac` is that of `content`. Raises UnknownAuditKey."""
    return hmac.compare_digest(sign(content, key_id), mac)


def canonical(content: Mapping[str, Any]) -> bytes:
    """Return `content` as the same bytes before it is written to PostgreSQL and after it is read back.

    What goes into jsonb must have been made plain before (storable.plain): it reads 1e22 back as a whole number.
    """
    return _encoder.encode(content).encode()


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not part of an act")


_encoder = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False, default=_text
)
