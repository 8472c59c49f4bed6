"""Signatures by the Standard Webhooks specification: https://www.standardwebhooks.com."""

import base64
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
#: The specification asks for 24 to 64.
SECRET_BYTES = 32


def new_secret() -> str:
    """Return a secret as receivers configure it: whsec_ and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret_list: Sequence[str], *, id: str, timestamp: int, body: bytes) -> str:
    """Return the header webhook-signature: one signature for each secret that is valid now."""
    content = f"{id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{_digest(secret, content)}" for secret in secret_list)


def _digest(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()
