"""Who acts, as the history names it."""

from typing import Any

#: Length of the columns that keep one.
MAX_LENGTH = 100


def actor_of(request: Any) -> str:
    """Return user:<name>, or token:<user>/<token's name> when an API token speaks for the user.

    `request` is Django's or DRF's.
    """
    user = request.user.get_username()
    token = getattr(request, "auth", None)
    return (f"user:{user}" if token is None else f"token:{user}/{token.name}")[:MAX_LENGTH]
