"""What the websockets of the dashboard share: who may open one, and how a message is sent.

Plain ASGI applications rather than Channels consumers: a consumer subscribes a channel for itself at the broker and
makes a thread hop for each message, and these need neither.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from outbox.origin import Origin
from outbox.states import Source

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: Close codes, in the range that is free for applications.
SIGNED_OUT = 4401
NOT_FOUND = 4404
#: A logout or a deactivated account ends an open socket within this time.
RECHECK_SECONDS = 60.0
MAX_MESSAGE_CHARACTERS = 65_536


async def accept(scope: Scope, receive: Receive, send: Send) -> bool:
    """Accept a socket of a signed-in user. Another's is accepted too, and closed with SIGNED_OUT.

    A browser does not tell its page why a handshake was refused; a close code it does.
    """
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    if scope["user"].is_authenticated:
        return True
    await close(send, SIGNED_OUT)
    return False


async def close(send: Send, code: int) -> None:
    await send({"type": "websocket.close", "code": code})


async def send_json(send: Send, **content: Any) -> None:
    await send({"type": "websocket.send", "text": json.dumps(content, separators=(",", ":"))})


def parse(event: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON object in a received message, or {} when there is none."""
    text = event.get("text") or ""
    if len(text) > MAX_MESSAGE_CHARACTERS:
        return {}
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def origin_of(scope: Scope) -> Origin:
    """Return where a socket comes from, for the audit log; behind our own proxy, the address that the proxy saw."""
    forwarded = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1") if settings.HTTPS else ""
    client = (scope.get("client") or ("",))[0]
    return Origin(Source.PAGE, ip=str(forwarded.rpartition(",")[2].strip() or client)[:45])


async def still_signed_in(scope: Scope) -> bool:
    """Return whether the session behind this socket is still that of an active user."""
    holds: bool = await database_sync_to_async(_session_holds, thread_sensitive=False)(scope["session"].session_key)
    return holds


def _session_holds(key: str | None) -> bool:
    from django.contrib.sessions.backends.db import SessionStore

    request = HttpRequest()
    request.session = SessionStore(key)
    return get_user(request).is_authenticated


async def may(scope: Scope, permission: str) -> bool:
    """Return whether the socket's user has a permission."""
    allowed: bool = await database_sync_to_async(scope["user"].has_perm, thread_sensitive=False)(permission)
    return allowed
