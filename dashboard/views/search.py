"""Search over everything that was said."""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_GET

from dashboard.page import live_page, query_without, show
from runners.models import Project, Runner
from runners.services.search import QUERY_CHARACTERS, RANKED, Filters, Found, SessionHits
from runners.services.search import search as find
from runners.states import Role

SESSIONS_SHOWN = 10
NAMES = ("project", "agent", "backend", "tool", "role", "since", "until")


@require_GET
@live_page
def search(request: HttpRequest) -> HttpResponse:
    """Find sessions by what was said in them."""
    text = request.GET.get("q", "").replace("\x00", " ").strip()[:QUERY_CHARACTERS]
    wanted = {name: request.GET.get(name, "").replace("\x00", "").strip()[:200] for name in NAMES}
    found = find(text, _filters(wanted)) if text else None
    agents = Runner.objects.exclude(agent_name="")
    context = {
        "q": text,
        "wanted": wanted,
        "found": found,
        "page": _page(request, found),
        "ranked": RANKED,
        "query": query_without(request, "page"),
        "projects": Project.objects.values_list("name", flat=True),
        "agents": agents.order_by("agent_name").values_list("agent_name", flat=True).distinct(),
        "backends": list(settings.RUNNER_BACKENDS),
        "roles": Role.choices,
    }
    return show(request, "dashboard/search.html", context)


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
