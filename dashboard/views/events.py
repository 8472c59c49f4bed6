"""The event stream, as people read it."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from dashboard.changes import FLEET
from dashboard.page import PAGE_SIZE, live_page, show
from dashboard.rows import event_row
from outbox import registry
from outbox.models import Entry


@require_GET
@live_page
def events(request: HttpRequest) -> HttpResponse:
    """List events, newest first; older ones by position, which stays right while new ones come."""
    found = Entry.objects.events().filter(sequence__isnull=False).order_by("-sequence")
    wanted = {name: request.GET.get(name, "").strip()[:200] for name in ("type", "subject", "before")}
    if wanted["type"]:
        found = found.filter(type=wanted["type"])
    if wanted["subject"]:
        found = found.filter(subject=wanted["subject"])
    if wanted["before"].isdigit() and len(wanted["before"]) < 19:
        found = found.filter(sequence__lt=int(wanted["before"]))
    entries = list(found[: PAGE_SIZE + 1])
    context = {
        "events": [event_row(entry) for entry in entries[:PAGE_SIZE]],
        "older": entries[PAGE_SIZE - 1].sequence if len(entries) > PAGE_SIZE else None,
        "wanted": wanted,
        "types": [kind.name for kind in registry.all_types()],
    }
    return show(request, "dashboard/events.html", context, topics=(FLEET,))
