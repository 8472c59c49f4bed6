"""Providers' limits as staff see them."""

from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from runners.actors import actor_of
from runners.admin_base import ReadOnlyAdmin
from runners.models import ProviderLimit
from runners.services.provider_limits import clear_limit
from runners.sql import database_now


@admin.register(ProviderLimit)
class ProviderLimitAdmin(ReadOnlyAdmin):
    list_display = ["label", "holds", "until", "is_told", "hits", "reached_at", "cleared_by"]
    list_filter = ["is_told"]
    search_fields = ["label", "credential", "note"]
    actions = ["clear_selected"]

    @display(description="holds now", boolean=True)
    def holds(self, limit: ProviderLimit) -> bool:
        return limit.in_force(database_now())

    def has_clear_permission(self, request: HttpRequest) -> bool:
        """Say whether the user may end a limit by hand."""
        return request.user.has_perm("runners.clear_limit")

    @admin.action(description="End by hand", permissions=["clear"])
    def clear_selected(self, request: HttpRequest, queryset: object) -> None:
        ids = list(queryset.values_list("pk", flat=True))  # type: ignore[attr-defined]
        for limit_id in ids:
            clear_limit(limit_id, actor=actor_of(request))
        self.message_user(request, f"Ended: {len(ids)}.")
