"""Budgets: where they stand, make one, raise one."""

from datetime import timedelta

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from dashboard.budget_forms import BudgetForm, RaiseForm
from dashboard.budget_rows import budget_rows
from dashboard.page import live_page, need, show, tell_refusal
from runners.actors import actor_of
from runners.exceptions import RunnerError
from runners.models import Budget
from runners.services.budgets import change_budget, create_budget, raise_budget
from runners.services.standing import standings


@require_GET
@live_page
def budgets(request: HttpRequest) -> HttpResponse:
    """List budgets, those that are nearest to their limit first."""
    found = sorted(standings(Budget.objects.all()), key=lambda each: (not each.budget.active, -each.percent))
    return show(request, "dashboard/budgets.html", {"budgets": budget_rows(found)})


@live_page
def new_budget(request: HttpRequest) -> HttpResponse:
    """Make a budget."""
    need(request, "runners.add_budget")
    initial = {name: request.GET[name] for name in ("scope", "scope_key") if name in request.GET}
    form = BudgetForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            budget = create_budget(form.cleaned_data, actor=actor_of(request))
        except RunnerError as error:
            form.refuse(error.message, error.facts.get("field"))
        else:
            messages.success(request, f"{budget.name} counts from now on.")
            return redirect(reverse("dashboard:budgets"))
    return show(request, "dashboard/new_budget.html", {"form": form}, status=422 if form.errors else 200)


@require_POST
@live_page
def raise_one(request: HttpRequest, budget_id: int) -> HttpResponse:
    """Raise a budget for a while."""
    need(request, "runners.raise_budget")
    budget = get_object_or_404(Budget, pk=budget_id)
    form = RaiseForm(request.POST)
    if not form.is_valid():
        words = (f"{form[name].label}: {' '.join(map(str, errors))}" for name, errors in form.errors.items())
        messages.error(request, f"{budget.name} was not raised. {' '.join(words)}")
        return redirect(reverse("dashboard:budgets"))
    typed = form.cleaned_data
    until = timezone.now() + timedelta(hours=float(typed["hours"])) if typed["hours"] else None
    try:
        raise_budget(budget, typed["amount"], reason=typed["reason"], actor=actor_of(request), until=until)
    except RunnerError as error:
        tell_refusal(request, error)
    else:
        messages.success(request, f"{budget.name} is raised: whom it paused goes on.")
    return redirect(reverse("dashboard:budgets"))


@require_POST
@live_page
def switch(request: HttpRequest, budget_id: int, verb: str) -> HttpResponse:
    """Switch a budget on or off."""
    if verb not in {"on", "off"}:
        raise Http404
    need(request, "runners.change_budget")
    budget = change_budget(get_object_or_404(Budget, pk=budget_id), {"active": verb == "on"}, actor=actor_of(request))
    messages.success(request, f"{budget.name} is {verb}.")
    return redirect(reverse("dashboard:budgets"))
