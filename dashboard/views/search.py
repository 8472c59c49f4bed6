"""Search over everything that was said."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_GET

from dashboard.page import live_page, query_without, show
from runners.backends import all_backends
from runners.models import Project, Runner, Session
from runners.services.search import QUERY_CHARACTERS, RANKED, Filters, Found, SessionHits, similar_sessions
from runners.services.search import search as find
from runners.states import Role, SearchMode

SESSIONS_SHOWN = 10
#: Beside a conversation.
SIMILAR_SHOWN = 5
NAMES = ("project", "agent", "backend", "tool", "role", "since", "until")


@require_GET
@live_page
def search(request: HttpRequest) -> HttpResponse:
    """Find sessions by what was said in them, or those that are like a session."""
    text = request.GET.get("q", "").replace("\x00", " ").strip()[:QUERY_CHARACTERS]
    wanted = {name: request.GET.get(name, "").replace("\x00", "").strip()[:200] for name in NAMES}
    mode = request.GET.get("mode", "")
    mode = mode if mode in SearchMode.values else SearchMode.HYBRID
    like = None if text else _session(request.GET.get("like", ""))
    if like:
        found: Found | None = similar_sessions(like)
    else:
        found = find(text, _filters(wanted), SearchMode(mode)) if text else None
    agents = Runner.objects.exclude(agent_name="")
    context = {
        "q": text,
        "like": like,
        "mode": mode,
        "modes": SearchMode.choices,
        "wanted": wanted,
        "found": found,
        "page": _page(request, found),
        "ranked": RANKED,
        "query": query_without(request, "page"),
        "projects": Project.objects.values_list("name", flat=True),
        "agents": agents.order_by("agent_name").values_list("agent_name", flat=True).distinct(),
        "backends": list(settings.RUNNER_BACKENDS),
        "going_on": {backend.name for backend in all_backends() if backend.goes_on},
        "roles": Role.choices,
    }
    return show(request, "dashboard/search.html", context)


@require_GET
@live_page
def similar(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """Return the sessions that are about the same, as a piece of a session's page."""
    session = get_object_or_404(Session, pk=session_id)
    found = similar_sessions(session)
    context = {
        "session": session,
        "note": found.note,
        "similar": found[:SIMILAR_SHOWN],
        "more": len(found) > SIMILAR_SHOWN,
    }
    return render(request, "dashboard/_similar.html", context)


def _session(text: str) -> Session | None:
    try:
        return Session.objects.filter(pk=UUID(text)).first()
    except ValueError:
        return None


def _page(request: HttpRequest, found: Found | None) -> Page[SessionHits]:
    return Paginator(found or (), SESSIONS_SHOWN).get_page(request.GET.get("page"))


def _filters(wanted: dict[str, str]) -> Filters:
    """Read the choices; a day that is none counts as not chosen. `until` includes its day."""
    since, until = _day(wanted["since"]), _day(wanted["until"])
    return Filters(
        project=wanted["project"],
        agent=wanted["agent"],
        backend=wanted["backend"],
        tool=wanted["tool"],
        role=wanted["role"],
        since=since,
        until=until + timedelta(days=1) if until else None,
    )


def _day(text: str) -> datetime | None:
    try:
        day = parse_date(text)
    except ValueError:
        return None  # it is written like a day, but there is none such
    # The last day there is has no day after it.
    return datetime(day.year, day.month, day.day, tzinfo=UTC) if day and day.year < 9999 else None
