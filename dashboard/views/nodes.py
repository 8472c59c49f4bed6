"""Machines."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from dashboard.changes import FLEET
from dashboard.page import live_page, show
from dashboard.rows import node_row
from runners.models import Node


@require_GET
@live_page
def nodes(request: HttpRequest) -> HttpResponse:
    """Show the nodes with their places and programs."""
    found = [(node, node_row(node)) for node in Node.objects.with_occupied().order_by("name")]
    context = {"nodes": found, "backends": list(settings.RUNNER_BACKENDS)}
    return show(request, "dashboard/nodes.html", context, topics=(FLEET,))
