"""The first page: how the fleet is now."""

from django.http import HttpRequest, HttpResponse

from dashboard.budget_rows import alarms
from dashboard.changes import FLEET, latest_events
from dashboard.limit_rows import limit_rows
from dashboard.page import live_page, show
from dashboard.rows import load_node_rows, runner_rows, shown_runners
from dashboard.workforce_figures import workforce
from runners.models import Project, Runner
from runners.states import RunnerStatus

ACTIVE_ROWS = 25
FEED_ROWS = 30
TILES = (
    RunnerStatus.RUNNING,
    RunnerStatus.STARTING,
    RunnerStatus.PAUSED,
    RunnerStatus.QUEUED,
    RunnerStatus.STOPPING,
    RunnerStatus.UNKNOWN,
    RunnerStatus.FAILED,
    RunnerStatus.TERMINATED,
)


@live_page
def overview(request: HttpRequest) -> HttpResponse:
    """Show counts, what is active, the nodes, and what happened last."""
    counts = Runner.objects.counts_by_status()
    context = {
        "tiles": [{"status": status.value, "label": status.label, "count": counts[status]} for status in TILES],
        "rows": runner_rows(shown_runners().open()[:ACTIVE_ROWS]),
        "limit": ACTIVE_ROWS,
        "nodes": load_node_rows(),
        "events": latest_events(FEED_ROWS),
        "alarms": alarms(),
        "limits": limit_rows(),
        "workforce": workforce(),
        "has_projects": Project.objects.exists(),
        "has_runners": any(counts.values()),
    }
    return show(request, "dashboard/overview.html", context, topics=(FLEET,))
