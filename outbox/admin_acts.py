"""The audit log as staff see it: to look at only."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesCheckboxFilter, FieldTextFilter, RangeDateTimeFilter
from unfold.decorators import display

from outbox.models import AuditCheck, AuditEntry
from outbox.states import Source


class LookOnly(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    show_full_result_count = False
    list_per_page = 50
    list_filter_submit = True
    ordering = ["-id"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AuditEntry)
class AuditEntryAdmin(LookOnly):
    list_display = ["at", "actor", "shown_source", "action", "target", "reason", "position"]
    list_filter = [
        ("source", ChoicesCheckboxFilter),
        ("action", FieldTextFilter),
        ("actor", FieldTextFilter),
        ("target_type", FieldTextFilter),
        ("at", RangeDateTimeFilter),
    ]
    search_fields = ["actor", "target_name", "=target_id", "=request_id", "reason"]
    search_help_text = "Actor, target's name or id, request or reason"
    fieldsets = [
        (None, {"fields": [("at", "position"), ("actor", "shown_source"), ("ip", "request_id"), "action", "target"]}),
        ("What changed", {"fields": ["reason", ("shown_before", "shown_after")]}),
        ("Signature", {"classes": ["tab"], "fields": ["key_id", "mac", "uid"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        return AuditEntry.objects.select_related("seal")

    @display(description="source", ordering="source", label={Source.API: "info", Source.ADMIN: "warning"})
    def shown_source(self, entry: AuditEntry) -> tuple[str, str]:
        return entry.source, entry.get_source_display()

    @display(description="target", ordering="target_id")
    def target(self, entry: AuditEntry) -> str:
        return f"{entry.target_type} {entry.target_name or entry.target_id}"

    @display(description="position")
    def position(self, entry: AuditEntry) -> int | None:
        seal = getattr(entry, "seal", None)
        return seal.position if seal else None

    @display(description="before")
    def shown_before(self, entry: AuditEntry) -> str:
        return _json(entry.before)

    @display(description="after")
    def shown_after(self, entry: AuditEntry) -> str:
        return _json(entry.after)


@admin.register(AuditCheck)
class AuditCheckAdmin(LookOnly):
    list_display = ["at", "whole", "everything", "position", "finding"]
    list_filter = ["whole"]


def _json(value: Any) -> str:
    if value is None:
        return "–"  # noqa: RUF001 - an en dash is meant
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))
