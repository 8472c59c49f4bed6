"""What was used: by day, project, model and agent."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from dashboard import figures
from dashboard.chart import day_chart
from dashboard.page import live_page, query_without, show
from runners.models import Project, UsageEntry
from runners.services.usage_summary import BY_DAY, Sums, summarize, total_of

RANGES = (7, 30, 90)
ROWS_SHOWN = 20
#: Days of the chart are those of UTC, as all times of the pages without a zone.
ZONE = ZoneInfo("UTC")
TABLES = (("project", "Project"), ("model", "Model"), ("agent", "Agent"))


@require_GET
@live_page
def usage(request: HttpRequest) -> HttpResponse:
    """Show a chart of days and what each project, model and agent used in them."""
    days = next((span for span in RANGES if request.GET.get("days") == str(span)), 30)
    today = timezone.now().astimezone(UTC).date()
    first = today - timedelta(days=days - 1)
    entries = UsageEntry.objects.filter(at__gte=datetime(first.year, first.month, first.day, tzinfo=UTC))
    project = request.GET.get("project", "")
    if project:
        entries = entries.filter(session__project__name=project)
    total = total_of(entries)
    # Where no cost is known a chart of costs would show nothing at all.
    in_dollars = total.cost_usd is not None and request.GET.get("show") != "tokens"
    context = {
        "chart": day_chart(summarize(BY_DAY, entries, time_zone=ZONE), first, today, in_dollars=in_dollars),
        "in_dollars": in_dollars,
        "total": _row(total),
        "tables": [
            {"by": by, "title": title, "rows": [_row(sums) for sums in _groups(by, entries)]} for by, title in TABLES
        ],
        "days": days,
        "ranges": RANGES,
        "project": project,
        "projects": Project.objects.values_list("name", flat=True),
        "query_without_days": query_without(request, "days"),
        "query_without_show": query_without(request, "show"),
    }
    return show(request, "dashboard/usage.html", context)


def _groups(by: str, entries: Any) -> list[Sums]:
    return summarize(by, entries, time_zone=ZONE, limit=ROWS_SHOWN)


def _row(sums: Sums) -> dict[str, Any]:
    return {
        "key": sums.key,
        "input": figures.tokens(sums.input_tokens),
        "output": figures.tokens(sums.output_tokens),
        "cache": figures.tokens(sums.cache_read_tokens + sums.cache_write_tokens),
        "tokens": figures.tokens(sums.total_tokens) if sums.entries else figures.UNKNOWN,
        "cost": figures.dollars(sums.cost_usd, complete=sums.is_whole),
        "at_least": sums.cost_usd is not None and not sums.is_whole,
        "unknown": figures.tokens(sums.unknown_tokens) if sums.unknown_tokens else "",
    }
