"""Staff's view of the outbox: look, try again, give up."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from outbox.actors import actor_of
from outbox.admin_acts import AuditEntryAdmin as AuditEntryAdmin
from outbox.admin_notifications import NotificationTargetAdmin as NotificationTargetAdmin
from outbox.admin_webhooks import WebhookAdmin as WebhookAdmin
from outbox.admin_webhooks import WebhookDeliveryAdmin as WebhookDeliveryAdmin
from outbox.chart import charts
from outbox.models import Entry
from outbox.services.retention import purge_dead
from outbox.services.retry import retry
from outbox.states import Status


class _WithoutHours(ChangeList):  # type: ignore[misc]
    """A list that leaves ?hours= to the charts above it: the admin takes what it does not know for a wrong filter."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        return {name: value for name, value in super().get_filters_params(params).items() if name != "hours"}


@admin.register(Entry)
class EntryAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = [
        "sequence",
        "shown_status",
        "kind",
        "type",
        "aggregate",
        "attempts",
        "next_attempt_at",
        "created_at",
    ]
    list_filter = ["status", "kind", "type", "created_at"]
    search_fields = ["aggregate", "=event_id", "subject", "error"]
    ordering = ["-id"]
    list_per_page = 50
    list_before_template = "admin/outbox/chart.html"
    # Counting millions of rows for every page of the list would cost more than the page.
    show_full_result_count = False
    # For all that match a filter: tick all, then "Select all". By POST, with the count shown first.
    actions = ["retry_selected", "purge_selected"]
    fieldsets = [
        (None, {"fields": ["type", "kind", "aggregate", "subject", "routing_key", "shown_data"]}),
        ("Delivery", {"fields": ["status", "attempts", "max_attempts", "next_attempt_at", "delivered_at", "error"]}),
        ("Position", {"fields": ["sequence", "lane", "event_id", "created_at", "traceparent"]}),
    ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {**(extra_context or {}), "charts": charts(request.GET.get("hours"))})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Any]:
        return _WithoutHours

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Entry | None = None) -> bool:
        # Only the dead may go, by the actions below; everything else is the stream's history or its future.
        return False

    def has_change_permission(self, request: HttpRequest, obj: Entry | None = None) -> bool:
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("outbox.change_entry")

    def has_purge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("outbox.delete_entry")

    @display(  # type: ignore[untyped-decorator]
        description="status",
        ordering="status",
        label={Status.PENDING: "info", Status.DELIVERED: "success", Status.DEAD: "danger"},
    )
    def shown_status(self, entry: Entry) -> str:
        return entry.status

    @display(description="data")  # type: ignore[untyped-decorator]
    def shown_data(self, entry: Entry) -> str:
        return format_html("<pre>{}</pre>", json.dumps(entry.data, indent=2, ensure_ascii=False))

    @admin.action(description="Try the selected dead entries again", permissions=["retry"])
    def retry_selected(self, request: HttpRequest, entries: QuerySet[Any]) -> None:
        self._say(
            request, retry(Entry.objects.filter(pk__in=entries.values("pk")), actor=actor_of(request)), "tried again"
        )

    @admin.action(description="Delete the selected dead entries for ever", permissions=["purge"])
    def purge_selected(self, request: HttpRequest, entries: QuerySet[Any]) -> None:
        self._say(
            request, purge_dead(Entry.objects.filter(pk__in=entries.values("pk")), actor=actor_of(request)), "deleted"
        )

    def _say(self, request: HttpRequest, count: int, what: str) -> None:
        noun = "dead entry" if count == 1 else "dead entries"
        self.message_user(request, f"{count} {noun} {what}.", messages.SUCCESS if count else messages.WARNING)
