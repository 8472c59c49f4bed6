"""Tell the audit log by which door an act came: page, API, admin, command line or task."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from celery.signals import task_prerun
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from outbox.origin import Origin, origin, set_origin
from outbox.states import Source

DOORS = (("/admin/", Source.ADMIN), ("/api/", Source.API))


class OriginMiddleware:
    """Stands after django-structlog's, which names the request."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if self.is_async:
            return self._later(request)
        with origin(origin_of(request)):
            return self.get_response(request)  # type: ignore[no-any-return]

    async def _later(self, request: HttpRequest) -> HttpResponse:
        with origin(origin_of(request)):
            return await self.get_response(request)  # type: ignore[no-any-return]


def origin_of(request: HttpRequest) -> Origin:
    """Return where a request comes from."""
    source = next((source for start, source in DOORS if request.path.startswith(start)), Source.PAGE)
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    return Origin(source, ip=client_ip(request), request_id=request_id)


def client_ip(request: HttpRequest) -> str:
    """Return the caller's address; behind our own proxy (STRATAVORE_HTTPS), the one that the proxy saw.

    Proxies append: only the last address is the proxy's word, those before it anyone can send.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.HTTPS else ""
    return str(forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR") or "")[:45]


@task_prerun.connect
def come_from_task(task_id: str = "", **_: Any) -> None:
    """Let acts of a task name it: its id is that of the outbox entry that asked for it."""
    set_origin(Origin(Source.TASK, request_id=task_id))
