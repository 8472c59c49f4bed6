"""The usage ledger and the price table as staff see them."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.shortcuts import redirect
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesCheckboxFilter, RangeDateTimeFilter
from unfold.decorators import action, display

from runners.actors import actor_of
from runners.admin_base import ReadOnlyAdmin, link_to
from runners.exceptions import RunnerError
from runners.models import ModelPrice, UsageEntry
from runners.services.prices import delete_price, is_used, reprice_unknown, save_price


@admin.register(UsageEntry)
class UsageEntryAdmin(ReadOnlyAdmin):
    list_display = [
        "at",
        "model",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cost",
        "source",
        "runner_link",
    ]
    list_filter = [("source", ChoicesCheckboxFilter), "model", ("at", RangeDateTimeFilter)]
    list_select_related = ["runner"]
    search_fields = ["model", "runner__name"]
    date_hierarchy = "at"
    ordering = ["-id"]

    @display(description="cost", ordering="cost_usd")
    def cost(self, entry: UsageEntry) -> str:
        if entry.cost_usd is not None:
            return f"${entry.cost_usd:,.6f}"
        return "unknown" if entry.is_unpriced else "in a later entry"

    @display(description="runner")
    def runner_link(self, entry: UsageEntry) -> str:
        return link_to(entry.runner)


@admin.register(ModelPrice)
class ModelPriceAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    list_display = [
        "pattern", "provider", "input_usd", "output_usd", "cache_read_usd", "cache_write_usd", "valid_from", "valid_to",
    ]  # fmt: skip
    list_filter = ["provider"]
    search_fields = ["pattern", "provider", "note"]
    actions_list = ["price_unknown"]
    fields = [
        ("pattern", "provider"),
        ("input_usd", "output_usd"),
        ("cache_read_usd", "cache_write_usd"),
        ("valid_from", "valid_to"),
        "note",
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # The ledger must stay explained: a new price is a new row.
        settled = ["pattern", "provider", "input_usd", "output_usd", "cache_read_usd", "cache_write_usd", "valid_from"]
        return settled if obj and is_used(obj) else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(super().has_delete_permission(request, obj)) and not (obj and is_used(obj))

    def delete_model(self, request: HttpRequest, obj: ModelPrice) -> None:
        delete_price(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for price in queryset:
            try:
                delete_price(price, actor=actor_of(request))
            except RunnerError as refusal:
                self.message_user(request, refusal.message, messages.WARNING)

    def save_model(self, request: HttpRequest, obj: ModelPrice, form: Any, change: bool) -> None:
        # The form has set the values already: what is stored tells what changes.
        stored = ModelPrice.objects.get(pk=obj.pk) if change else ModelPrice()
        obj.pk = save_price(stored, form.cleaned_data, actor=actor_of(request)).pk

    @action(description="Price what is unknown", permissions=["change"])
    def price_unknown(self, request: HttpRequest) -> Any:
        count = reprice_unknown()
        self.message_user(request, f"{count} entries of unknown cost have a price now.", messages.SUCCESS)
        return redirect("admin:runners_modelprice_changelist")
