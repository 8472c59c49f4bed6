"""The audit log, as people read it."""

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from dashboard.page import PAGE_SIZE, live_page, need, show
from outbox.models import AuditCheck, AuditEntry, AuditSeal
from outbox.services.seal import LOOK_BACK
from outbox.states import Source

FILTERS = ("actor", "action", "target", "source", "before")


@require_GET
@live_page
def audit(request: HttpRequest) -> HttpResponse:
    """List acts, newest first; older ones by id, which stays right while new ones come."""
    need(request, "outbox.view_auditentry")
    wanted = {name: request.GET.get(name, "").strip()[:200] for name in FILTERS}
    acts = list(_found(wanted)[: PAGE_SIZE + 1])
    query = request.GET.copy()
    query.pop("before", None)
    context = {
        "acts": acts[:PAGE_SIZE],
        "older": acts[PAGE_SIZE - 1].pk if len(acts) > PAGE_SIZE else None,
        "wanted": wanted,
        "query": f"{query.urlencode()}&" if query else "",
        "sources": Source.choices,
        "chain": _chain(),
    }
    return show(request, "dashboard/audit.html", context)


def _found(wanted: dict[str, str]) -> QuerySet[AuditEntry]:
    found = AuditEntry.objects.select_related("seal").order_by("-pk")
    if wanted["actor"]:
        found = found.filter(actor__icontains=wanted["actor"])
    if wanted["action"]:
        found = found.filter(action__startswith=wanted["action"].removesuffix("*"))
    if wanted["target"]:
        target = wanted["target"]
        found = found.filter(Q(target_id=target) | Q(target_name__icontains=target) | Q(target_type=target))
    if wanted["source"]:
        found = found.filter(source=wanted["source"])
    if wanted["before"].isdigit() and len(wanted["before"]) < 19:
        found = found.filter(pk__lt=int(wanted["before"]))
    return found


def _chain() -> dict[str, Any]:
    """Return how far the log is sealed, and how far the last check found it whole."""
    head = AuditSeal.objects.order_by("-position").values_list("position", flat=True).first() or 0
    newest = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    waiting = AuditEntry.objects.filter(seal__isnull=True, pk__gt=newest - LOOK_BACK).count()
    return {"head": head, "waiting": waiting, "check": AuditCheck.objects.first()}
