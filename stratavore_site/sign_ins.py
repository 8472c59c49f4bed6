"""Sign-ins, sign-outs and refused ones, for the audit log. Django tells of them by signals only."""

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from outbox.services import record_act


@receiver(user_logged_in)
def signed_in(sender: Any, user: Any, **_: Any) -> None:
    _record("sign_in", f"user:{user.get_username()}", user)


@receiver(user_logged_out)
def signed_out(sender: Any, user: Any, **_: Any) -> None:
    # A session that had run out signs out nobody.
    if user is not None:
        _record("sign_out", f"user:{user.get_username()}", user)


@receiver(user_login_failed)
def refused(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Whoever it was, it is not known to be the user whose name was typed."""
    name = str(credentials.get("username", ""))
    with transaction.atomic():
        record_act("user.sign_in_failed", actor="anonymous", target_type="user", target_id=name, target_name=name)


def _record(verb: str, actor: str, user: Any) -> None:
    with transaction.atomic():
        record_act(f"user.{verb}", actor=actor, target_type="user", target_id=user.pk, target_name=user.get_username())
