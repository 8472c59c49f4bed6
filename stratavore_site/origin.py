"""Tell the audit log by which door an act came (page, API, admin, command line or task), and events of which trace."""

from collections.abc import Callable
from typing import Any

import structlog
from celery.signals import task_postrun, task_prerun
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from outbox import trace
from outbox.caller import Caller, on_behalf_of
from outbox.origin import Origin, set_origin
from outbox.states import Source

DOORS = (("/admin/", Source.ADMIN), ("/api/", Source.API))


class OriginMiddleware:
    """Stands after django-structlog's, which names the request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with on_behalf_of(Caller(origin_of(request), trace_of(request))):
            return self.get_response(request)


def origin_of(request: HttpRequest) -> Origin:
    """Return where a request comes from."""
    source = next((source for start, source in DOORS if request.path.startswith(start)), Source.PAGE)
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    return Origin(source, ip=client_ip(request), request_id=request_id)


def trace_of(request: HttpRequest) -> str:
    """Return the trace that a request belongs to: its caller's, or a new one."""
    return trace.next_hop(request.META.get("HTTP_TRACEPARENT", ""))


def client_ip(request: HttpRequest) -> str:
    """Return the caller's address; behind our own proxy (STRATAVORE_HTTPS), the one that the proxy saw.

    Proxies append: only the last address is the proxy's word, those before it anyone can send.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "") if settings.HTTPS else ""
    return str(forwarded.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR") or "")[:45]


@task_prerun.connect
def come_from_task(task_id: str = "", task: Any = None, **_: Any) -> None:
    """Let acts of a task name it: its id is that of the outbox entry that asked for it, and so is its trace."""
    set_origin(Origin(Source.TASK, request_id=task_id))
    header = str((task.request.get(trace.NAME) if task is not None else "") or "")
    if header:
        structlog.contextvars.bind_contextvars(**{trace.NAME: trace.next_hop(header)})


@task_postrun.connect
def leave_trace(**_: Any) -> None:
    """A worker's thread goes on with another task."""
    structlog.contextvars.unbind_contextvars(trace.NAME)
