"""What every page has: a signed-in user, and the place in the stream from which it goes on living."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from agents.exceptions import AgentError
from dashboard import figures, stream
from runners.exceptions import RunnerError
from runners.models import Approval, Runner
from runners.states import ApprovalState

PAGE_SIZE = 50
#: Scripts and connections from here alone. xterm.js writes style attributes, which is why styles are let in.
CONTENT_POLICY = "; ".join(
    (
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
#: Of a page with a player of recordings: its terminal is WebAssembly. JavaScript from text stays forbidden.
PLAYER_POLICY = f"{CONTENT_POLICY}; script-src 'self' 'wasm-unsafe-eval'"

P = ParamSpec("P")


def live_page(view: Callable[Concatenate[HttpRequest, P], HttpResponse]) -> Callable[..., HttpResponse]:
    """Ask for a sign-in, and note where the stream stands before the page reads any row.

    The browser follows the stream from there: it may be told again what the page shows, but misses nothing.
    """

    @functools.wraps(view)
    @login_required
    def placed(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        request.asked_at = timezone.now()  # type: ignore[attr-defined]
        request.stream_position = stream.position()  # type: ignore[attr-defined]
        response = view(request, *args, **kwargs)
        response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
        return response

    return placed


def show(
    request: HttpRequest, template: str, context: Mapping[str, Any], *, topics: tuple[str, ...] = (), status: int = 200
) -> HttpResponse:
    """Render a page that follows `topics`; the counts are followed by all, for the tab's icon."""
    shared = {
        "position": getattr(request, "stream_position", None),
        "at": figures.instant(getattr(request, "asked_at", None)),
        "topics": " ".join(("counts", *topics)),
        "section": template.partition("/")[2].removesuffix(".html"),
        "running": Runner.objects.filter(status="running").count(),
        "asked": Approval.objects.filter(state=ApprovalState.WAITING).count(),
    }
    # The shared ones last: a page that used one of their names would quietly stop being live.
    return render(request, template, {**context, **shared}, status=status)


def need(request: HttpRequest, permission: str) -> None:
    """Raise PermissionDenied unless the user has `permission`."""
    if not request.user.has_perm(permission):
        raise PermissionDenied


def tell_refusal(request: HttpRequest, error: RunnerError | AgentError) -> None:
    """Show the sentence of a refused action on the next page."""
    messages.error(request, error.message)


def tell_outcome(request: HttpRequest, act: Callable[[], str], *refusals: type[Exception]) -> None:
    """Do what was asked; the next page shows the sentence that it returns, or that of one of these refusals."""
    try:
        messages.success(request, act())
    except refusals as refusal:
        messages.error(request, str(refusal))


def page_of(request: HttpRequest, rows: Any, size: int = PAGE_SIZE) -> Page[Any]:
    """Return the page that the address asks for, or the nearest there is."""
    return Paginator(rows, size).get_page(request.GET.get("page"))


def query_without(request: HttpRequest, *names: str) -> str:
    """Return the address's query without these names, ready to be followed by another: "q=x&"."""
    query = request.GET.copy()
    for name in names:
        query.pop(name, None)
    return f"{query.urlencode()}&" if query else ""
