"""The reconciler: its rules, when they last ran, what they found and did."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from dashboard.page import live_page, need, page_of, query_without, show
from runners.models import ReconcilerFinding, ReconcilerRound
from runners.services.reconcile import reconcile
from runners.services.reconciler_rules import rules


@require_GET
@live_page
def reconciler(request: HttpRequest) -> HttpResponse:
    """Show the rules, and findings newest first; of one rule, if the address names it."""
    rule = request.GET.get("rule", "")
    findings = ReconcilerFinding.objects.select_related("runner", "node").order_by("-at", "-pk")
    context = {
        "rules": rules(),
        "rounds": ReconcilerRound.objects.all(),
        "rule": rule,
        "page": page_of(request, findings.filter(rule=rule) if rule else findings),
        "query": query_without(request, "page"),
    }
    return show(request, "dashboard/reconciler.html", context)


@require_POST
@live_page
def run(request: HttpRequest) -> HttpResponse:
    """Run the control plane's rules now."""
    need(request, "runners.change_node")
    count = sum(reconcile().values())
    messages.success(request, f"The rules have run: {count} times there was something to do." if count else
                     "The rules have run: all is as it should be.")  # fmt: skip
    return redirect(reverse("dashboard:reconciler"))
