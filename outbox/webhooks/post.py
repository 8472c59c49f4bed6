"""One request to one webhook. Knows no database, so that many may be under way in threads."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from ssl import SSLContext
from typing import Any

import httpcore

from outbox.envelope import CONTENT_TYPE
from outbox.exceptions import AddressRefused
from outbox.webhooks.addresses import check_url
from outbox.webhooks.connection import CheckedBackend, Deadline
from outbox.webhooks.signature import signature

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
#: What is kept of an answer: enough for an error's words.
KEPT_BODY_BYTES = 4_096
#: And of its headers; a receiver may send a hundred.
KEPT_HEADERS = 40
KEPT_HEADER_CHARACTERS = 500
USER_AGENT = "Stratavore-Webhooks/1"
GONE = 410


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: `id` is the event's, the same at every attempt."""

    url: str
    secrets: Sequence[str]
    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` is None when no answer did; `error` says why it was no success."""

    at: datetime
    duration_ms: int
    request_headers: Mapping[str, str]
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    error: str = ""

    @property
    def success(self) -> bool:
        return not self.error


def post(request: Request) -> Answer:
    """Send a signed request and return what became of it; never raises for what the receiver or network does."""
    at, begun = datetime.now(UTC), time.monotonic()
    headers = _headers(request, int(at.timestamp()))
    found: dict[str, Any]
    try:
        check_url(request.url)
        found = _exchange(request, headers)
    except AddressRefused as refusal:
        found = {"error": str(refusal)}
    except httpcore.TimeoutException as error:
        found = {"error": f"No answer in time: {error or type(error).__name__}."}
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        found = {"error": f"{type(error).__name__}: {error}"[:500]}
    return Answer(at, round((time.monotonic() - begun) * 1000), headers, **found)


def _headers(request: Request, timestamp: int) -> dict[str, str]:
    return {
        "content-type": CONTENT_TYPE,
        "user-agent": USER_AGENT,
        "webhook-id": request.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(request.secrets, id=request.id, timestamp=timestamp, body=request.body),
    }


def _exchange(request: Request, headers: Mapping[str, str]) -> dict[str, Any]:
    """Send and receive on a connection of its own. No redirect is followed: no answer chooses an address."""
    url = httpcore.URL(request.url)
    host = url.host.decode() + (f":{url.port}" if url.port is not None else "")
    raw = [("host", host), ("content-length", str(len(request.body))), ("connection", "close"), *headers.items()]
    deadline = Deadline(TOTAL_SECONDS)
    timeouts = {"connect": CONNECT_SECONDS, "read": TOTAL_SECONDS, "write": TOTAL_SECONDS, "pool": TOTAL_SECONDS}
    with (
        httpcore.ConnectionPool(ssl_context=_tls(), network_backend=CheckedBackend(deadline)) as pool,
        pool.stream("POST", url, headers=raw, content=request.body, extensions={"timeout": timeouts}) as response,
    ):
        return _read(response)


def _read(response: httpcore.Response) -> dict[str, Any]:
    error = "" if 200 <= response.status < 300 else _complaint(response)
    return {
        "status": response.status,
        "headers": _kept_headers(response),
        "body": _kept_body(response),
        "error": error,
    }


def _complaint(response: httpcore.Response) -> str:
    if 300 <= response.status < 400:
        return f"It answered {response.status}: redirects are not followed, give the final address."
    return f"It answered {response.status}."


def _kept_headers(response: httpcore.Response) -> dict[str, str]:
    pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers]
    return {name[:100]: _printable(value[:KEPT_HEADER_CHARACTERS]) for name, value in pairs[:KEPT_HEADERS]}


def _kept_body(response: httpcore.Response) -> str:
    """Return the beginning of the body. What comes after is not read: it may never end."""
    kept = b""
    for chunk in response.iter_stream():
        kept += chunk
        if len(kept) >= KEPT_BODY_BYTES:
            break
    return _printable(kept[:KEPT_BODY_BYTES].decode("utf-8", "replace"))


def _printable(text: str) -> str:
    """Return `text` as PostgreSQL can hold it."""
    return text.replace("\x00", "\ufffd")


@cache
def _tls() -> SSLContext:
    return httpcore.default_ssl_context()
