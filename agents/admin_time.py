"""Todos and time entries as staff see them."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesCheckboxFilter, RangeDateTimeFilter
from unfold.decorators import display

from agents.admin_acts import act_on_each
from agents.models import TimeEntry, Todo
from agents.services import stop_clock
from agents.states import TimeStatus, TodoStatus
from runners.admin_base import ReadOnlyAdmin, link_to

TODO_COLOURS = {TodoStatus.PENDING: "", TodoStatus.IN_PROGRESS: "primary", TodoStatus.COMPLETED: "success"}
TIME_COLOURS = {TimeStatus.ACTIVE: "success", TimeStatus.PAUSED: "warning", TimeStatus.COMPLETED: ""}


@admin.register(Todo)
class TodoAdmin(ReadOnlyAdmin):
    list_display = ["title", "agent_link", "job_link", "status_badge", "priority", "updated_at"]
    list_filter = [("status", ChoicesCheckboxFilter), ("agent", AutocompleteSelectFilter)]
    list_select_related = ["agent", "job"]
    search_fields = ["title", "description", "agent__name"]
    ordering = ["-created_at"]

    @display(description="agent", ordering="agent__name")
    def agent_link(self, todo: Todo) -> str:
        return link_to(todo.agent)

    @display(description="job", ordering="job")
    def job_link(self, todo: Todo) -> str:
        return link_to(todo.job)

    @display(description="status", ordering="status", label=TODO_COLOURS)
    def status_badge(self, todo: Todo) -> tuple[str, str]:
        return todo.status, todo.get_status_display()


@admin.register(TimeEntry)
class TimeEntryAdmin(ReadOnlyAdmin):
    list_display = ["started_at", "worker", "job_link", "status_badge", "hours", "description"]
    list_filter = [
        ("status", ChoicesCheckboxFilter),
        ("agent", AutocompleteSelectFilter),
        ("started_at", RangeDateTimeFilter),
    ]
    list_select_related = ["agent", "person", "job"]
    search_fields = ["description", "agent__name", "person__username", "job__id"]
    ordering = ["-started_at"]
    actions = ["stop_selected"]

    def has_stop_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("agents.change_timeentry")

    @display(description="job", ordering="job")
    def job_link(self, entry: TimeEntry) -> str:
        return link_to(entry.job)

    @display(description="status", ordering="status", label=TIME_COLOURS)
    def status_badge(self, entry: TimeEntry) -> tuple[str, str]:
        return entry.status, entry.get_status_display()

    @display(description="hours")
    def hours(self, entry: TimeEntry) -> str:
        return f"{entry.worked_seconds() / 3600:.2f}"

    @admin.action(description="Stop the clock", permissions=["stop"])
    def stop_selected(self, request: HttpRequest, queryset: QuerySet[TimeEntry]) -> None:
        act_on_each(self, request, queryset.values_list("pk", flat=True), stop_clock, "stopped")
