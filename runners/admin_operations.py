"""Operations and findings as staff see them: read-only."""

from django.contrib import admin
from unfold.contrib.filters.admin import ChoicesCheckboxFilter, RangeDateTimeFilter

from runners.admin_base import ReadOnlyAdmin, ReadOnlyInline
from runners.models import Operation, OperationItem, ReconcilerFinding


class OperationItemInline(ReadOnlyInline):
    model = OperationItem
    verbose_name_plural = "items"
    fields = ["name", "result", "message", "at"]
    readonly_fields = fields
    ordering = ["id"]


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin):
    list_display = ["verb", "status", "total", "done", "failed", "skipped", "actor", "created_at", "ended_at"]
    list_filter = [("status", ChoicesCheckboxFilter), "verb", ("created_at", RangeDateTimeFilter)]
    search_fields = ["verb", "actor", "=id"]
    ordering = ["-created_at"]
    inlines = [OperationItemInline]


@admin.register(ReconcilerFinding)
class ReconcilerFindingAdmin(ReadOnlyAdmin):
    list_display = ["at", "rule", "name", "found", "done", "place"]
    list_filter = ["rule", "place", ("at", RangeDateTimeFilter)]
    search_fields = ["name", "found", "done"]
    ordering = ["-at"]
