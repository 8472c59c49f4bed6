"""The inbox: what programs ask, and the answers; and the rules that answer first."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from dashboard.approval_forms import RuleForm, TrialForm
from dashboard.approval_rows import WAITING_SHOWN, approval_rows, visible, waiting_rows
from dashboard.changes import FLEET
from dashboard.page import live_page, need, page_of, query_without, show, tell_refusal
from runners.actors import actor_of
from runners.exceptions import RunnerError
from runners.models import Approval, ApprovalRule, Project
from runners.services.approvals import Decision, decide_approval
from runners.services.approvals.policy import try_rules
from runners.services.approvals.rules import delete_rule, save_rule
from runners.states import ApprovalState

#: What each button means.
ANSWERS = {
    "allow": Decision(allow=True),
    "allow_session": Decision(allow=True, for_session=True),
    "deny": Decision(allow=False),
}
RECENT = 25


@require_GET
@live_page
def approvals(request: HttpRequest) -> HttpResponse:
    """Show what waits, and below it what was answered."""
    project, state = request.GET.get("project", ""), request.GET.get("state", "")
    narrowed = {"runner__project__name": project} if project else {}
    told = Approval.objects.select_related("runner__project", "runner__worktree").filter(**narrowed)
    past = told.exclude(state=ApprovalState.WAITING)
    if state in ApprovalState.values:
        past = past.filter(state=state)
    page = page_of(request, past.order_by("-decided_at", "-pk"), RECENT)
    context = {
        "waiting": waiting_rows(**narrowed),
        "more_waiting": max(0, told.filter(state=ApprovalState.WAITING).count() - WAITING_SHOWN),
        "page": page,
        "past": approval_rows(page.object_list),
        "project": project,
        "state": state,
        "states": [each for each in ApprovalState.choices if each[0] != ApprovalState.WAITING],
        "projects": Project.objects.values_list("name", flat=True),
        "query": query_without(request, "page"),
    }
    return show(request, "dashboard/approvals.html", context, topics=(FLEET,))


@require_POST
@live_page
def decide(request: HttpRequest, approval_id: UUID) -> HttpResponse:
    """Answer one question, and go back to the page the button was on."""
    need(request, "runners.decide_approval")
    answer = ANSWERS.get(request.POST.get("answer", ""))
    if answer is None:
        raise Http404
    found = get_object_or_404(Approval, pk=approval_id)
    if not answer.allow:
        answer = replace(answer, message=request.POST.get("message", "").replace("\0", ""))
    try:
        decided = decide_approval(found.pk, answer, actor=actor_of(request))
    except RunnerError as error:
        tell_refusal(request, error)
    else:
        messages.success(request, f"{decided.get_state_display()}: {visible(decided.wants)}")
    back = request.POST.get("next", "")
    inside = url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    return redirect(back if inside and back else reverse("dashboard:approvals"))


@live_page
def rules(request: HttpRequest) -> HttpResponse:
    """Show the rules in their order, make one, and try them."""
    form = RuleForm(initial={name: request.GET[name] for name in RuleForm.base_fields if name in request.GET})
    if request.method == "POST":
        need(request, "runners.add_approvalrule")
        form = RuleForm(request.POST)
        if form.is_valid() and _make(request, form):
            return redirect(reverse("dashboard:approval_rules"))
    trial_form = TrialForm(request.GET if "tool" in request.GET and "wants" in request.GET else None)
    context = {
        "rules": ApprovalRule.objects.order_by("position", "pk")[:500],
        "form": form,
        "trial_form": trial_form,
        "trial": _tried(trial_form) if trial_form.is_bound and trial_form.is_valid() else None,
    }
    return show(request, "dashboard/approval_rules.html", context, status=422 if form.errors else 200)


def _make(request: HttpRequest, form: RuleForm) -> bool:
    try:
        rule = save_rule(ApprovalRule(), form.values(), actor=actor_of(request))
    except RunnerError as error:
        form.refuse(error.message, error.facts.get("field"))
        return False
    messages.success(request, f"From now on: {rule}.")
    return True


def _tried(form: TrialForm) -> dict[str, Any]:
    typed = form.cleaned_data
    trial = try_rules(
        typed["tool"],
        form.tool_input(),
        project=typed["project"],
        agent=typed["agent"],
        personality=typed["personality"],
    )
    return {"answer": trial.answer, "rule": trial.rule, "text": visible(trial.text), "parts": trial.parts}


@require_POST
@live_page
def change_rule(request: HttpRequest, rule_id: int, verb: str) -> HttpResponse:
    """Switch a rule on or off, move it, or delete it."""
    rule = get_object_or_404(ApprovalRule, pk=rule_id)
    if verb == "delete":
        need(request, "runners.delete_approvalrule")
        delete_rule(rule, actor=actor_of(request))
        messages.success(request, f"Deleted: {rule}.")
    elif verb in {"on", "off"}:
        need(request, "runners.change_approvalrule")
        save_rule(rule, {"active": verb == "on"}, actor=actor_of(request))
    elif verb in {"up", "down"}:
        need(request, "runners.change_approvalrule")
        _swap(request, rule, up=verb == "up")
    else:
        raise Http404
    return redirect(reverse("dashboard:approval_rules"))


def _swap(request: HttpRequest, rule: ApprovalRule, *, up: bool) -> None:
    """Change places with the neighbour."""
    ordered = list(ApprovalRule.objects.order_by("position", "pk"))
    place = next(index for index, each in enumerate(ordered) if each.pk == rule.pk)
    other = place - 1 if up else place + 1
    if not 0 <= other < len(ordered):
        return
    ordered[place], ordered[other] = ordered[other], ordered[place]
    # Rules may stand at the same position: then all get one of their own.
    for index, each in enumerate(ordered, start=1):
        if each.position != index * 10:
            save_rule(each, {"position": index * 10}, actor=actor_of(request))
