"""Budgets as staff see and keep them."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesCheckboxFilter
from unfold.decorators import display

from runners.actors import actor_of
from runners.admin_base import ReadOnlyInline
from runners.exceptions import RunnerError
from runners.models import Budget, BudgetPeriod, BudgetRaise
from runners.services.budgets import OPEN_FIELDS, change_budget, create_budget, delete_budget
from runners.services.standing import standing_of


class PeriodInline(ReadOnlyInline):
    model = BudgetPeriod
    fields = ["starts_at", "ends_at", "used_tokens", "used_usd", "unknown_tokens", "alerted"]
    readonly_fields = fields
    ordering = ["-starts_at"]


class RaiseInline(ReadOnlyInline):
    model = BudgetRaise
    fields = ["made_at", "amount", "until", "reason", "actor"]
    readonly_fields = fields
    ordering = ["-made_at"]


@admin.register(Budget)
class BudgetAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    list_display = ["name", "scope", "scope_key", "period", "action", "stands_at", "active"]
    list_filter = [("scope", ChoicesCheckboxFilter), ("action", ChoicesCheckboxFilter), "active"]
    list_filter_submit = True
    search_fields = ["name", "scope_key"]
    inlines = [PeriodInline, RaiseInline]
    fields = [
        ("name", "active"),
        ("scope", "scope_key"),
        ("period", "time_zone"),
        ("limit", "unit"),
        "action",
        "stands_at",
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["stands_at", "scope", "scope_key", "period", "time_zone", "unit"] if obj else ["stands_at"]

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        values = {name: value for name, value in form.cleaned_data.items() if name != "stands_at"}
        try:
            if change:
                wanted = {name: values[name] for name in OPEN_FIELDS if name in values}
                change_budget(Budget.objects.get(pk=obj.pk), wanted, actor=actor_of(request))
            else:
                obj.pk = create_budget(values, actor=actor_of(request)).pk
        except RunnerError as refusal:
            self.message_user(request, refusal.message, messages.ERROR)

    def delete_model(self, request: HttpRequest, obj: Budget) -> None:
        delete_budget(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for budget in queryset:
            delete_budget(budget, actor=actor_of(request))

    @display(description="used")
    def stands_at(self, budget: Budget) -> str:
        return standing_of(budget).figures if budget.pk else ""
