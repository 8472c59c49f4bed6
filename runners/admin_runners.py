"""Runners as staff see and steer them."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesCheckboxFilter, RangeDateTimeFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from runners.actors import actor_of
from runners.admin_base import ReadOnlyAdmin, ReadOnlyInline, link_to
from runners.exceptions import RunnerError
from runners.models import Message, Observation, Runner, RunnerMove
from runners.services import pause_runner, restart_runner, resume_runner, stop_runner
from runners.services.limits import shown
from runners.services.steer import MAX_GRACE_SECONDS
from runners.states import OCCUPYING, RunnerStatus

S = RunnerStatus
#: unfold's names for the colours of a label.
STATUS_COLOURS = {
    S.QUEUED: "",
    S.STARTING: "info",
    S.RUNNING: "success",
    S.PAUSED: "warning",
    S.STOPPING: "warning",
    S.TERMINATED: "",
    S.FAILED: "danger",
    S.UNKNOWN: "danger",
}
NONE = "–"  # noqa: RUF001 - an en dash is meant
#: Of a thousand refusals nobody reads each.
MAX_REFUSALS_TOLD = 10

Steer = Callable[..., Runner]


class StopForm(BaseDialogForm):  # type: ignore[misc]
    grace_seconds = forms.IntegerField(
        min_value=0,
        max_value=MAX_GRACE_SECONDS,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="0 kills at once; empty: the runner's own.",
    )


class MoveInline(ReadOnlyInline):
    model = RunnerMove
    verbose_name_plural = "history"
    fields = ["at", "generation", "from_status", "to_status", "actor", "reason"]
    readonly_fields = fields
    ordering = ["-id"]


class RunnerMessageInline(ReadOnlyInline):
    model = Message
    fields = ["at", "role", "tool_name", "text"]
    readonly_fields = fields
    ordering = ["-id"]


@admin.register(Runner)
class RunnerAdmin(ReadOnlyAdmin):
    list_display = ["shown_name", "status_badge", "project_link", "node_link", "backend", "cpu", "memory", "created_at"]
    list_filter = [
        ("status", ChoicesCheckboxFilter),
        "backend",
        ("project", AutocompleteSelectFilter),
        ("node", AutocompleteSelectFilter),
        ("created_at", RangeDateTimeFilter),
    ]
    list_select_related = ["project", "node", "observation"]
    search_fields = ["name", "prompt", "reason", "=id"]
    search_help_text = "Name, prompt, reason or id"
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    actions = ["stop_selected", "stop_selected_now", "pause_selected", "resume_selected", "restart_selected"]
    actions_detail = ["stop_this", "pause_this", "resume_this", "open_in_dashboard"]
    inlines = [MoveInline, RunnerMessageInline]
    readonly_fields = [
        "status_badge",
        "project_link",
        "node_link",
        "session_link",
        "command_line",
        "shown_flags",
        "shown_labels",
        "shown_limits",
        "environment_names",
        "cpu",
        "memory",
    ]
    list_before_template = change_form_before_template = "admin/runners/status_labels.html"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("name", "status_badge"),
                    ("project_link", "node_link"),
                    ("session_link", "requested_by"),
                    "reason",
                ]
            },
        ),
        (
            "What was asked for",
            {
                "classes": ["tab"],
                "fields": [
                    ("backend", "model"),
                    "prompt",
                    "command_line",
                    "shown_flags",
                    "environment_names",
                    "workspace",
                    ("runtime", "image"),
                    ("network", "container_user"),
                    ("conversation_mode", "grace_seconds"),
                    "shown_labels",
                    "shown_limits",
                ],
            },
        ),
        (
            "Process",
            {
                "classes": ["tab"],
                "fields": [
                    ("generation", "pid"),
                    ("cpu", "memory"),
                    ("created_at", "started_at"),
                    ("ended_at", "status_changed_at"),
                    ("exit_code", "exit_signal"),
                ],
            },
        ),
    ]

    class Media:
        js = [Script("js/admin_live.js", type="module")]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Runner]:
        found: QuerySet[Runner] = super().get_queryset(request)
        return found.select_related("project", "node", "session", "observation", "requested_by")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {**(extra_context or {}), "status_labels": _status_labels()})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = {**(extra_context or {}), "status_labels": _status_labels()}
        return super().changeform_view(request, object_id, form_url, context)

    def has_steer_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("runners.change_runner")

    # --- Columns. Those with data-figure are kept up to date by static/js/admin_live.js.

    @display(description="runner", ordering="name")
    def shown_name(self, runner: Runner) -> str:
        title = (runner.prompt.strip() or " ".join(runner.argv)).partition("\n")[0][:70]
        return format_html('{}<br><span class="font-normal text-xs text-base-500">{}</span>', runner.name, title)

    @display(description="status", ordering="status")
    def status_badge(self, runner: Runner) -> str:
        label = {"text": runner.get_status_display(), "type": STATUS_COLOURS[S(runner.status)]}
        return _figure(runner, "status", render_to_string("unfold/helpers/label.html", label))

    @display(description="project", ordering="project__name")
    def project_link(self, runner: Runner) -> str:
        return link_to(runner.project)

    @display(description="node", ordering="node__name")
    def node_link(self, runner: Runner) -> str:
        return link_to(runner.node)

    @display(description="session")
    def session_link(self, runner: Runner) -> str:
        return link_to(runner.session)

    @display(description="CPU", ordering="observation__cpu_percent")
    def cpu(self, runner: Runner) -> str:
        seen = _seen(runner)
        return _figure(runner, "cpu", f"{seen.cpu_percent:.0f} %" if seen else NONE)

    @display(description="memory", ordering="observation__memory_mb")
    def memory(self, runner: Runner) -> str:
        seen = _seen(runner)
        return _figure(runner, "memory", f"{seen.memory_mb:.0f} MB" if seen else NONE)

    @display(description="command")
    def command_line(self, runner: Runner) -> str:
        return " ".join(runner.argv) or NONE

    @display(description="flags")
    def shown_flags(self, runner: Runner) -> str:
        return " ".join(runner.flags) or NONE

    @display(description="labels of its node")
    def shown_labels(self, runner: Runner) -> str:
        return ", ".join(runner.labels) or NONE

    @display(description="limits")
    def shown_limits(self, runner: Runner) -> str:
        return shown(runner.limits_in_force or runner.limits) or NONE

    @display(description="environment")
    def environment_names(self, runner: Runner) -> str:
        """Names only: values may be secrets."""
        return ", ".join(sorted(runner.environment)) or NONE

    # --- Acts on the selected runners.

    @admin.action(description="Stop", permissions=["steer"])
    def stop_selected(self, request: HttpRequest, queryset: QuerySet[Runner]) -> None:
        _steer_each(self, request, queryset, stop_runner, "asked to stop")

    @admin.action(description="Stop now: kill without grace", permissions=["steer"])
    def stop_selected_now(self, request: HttpRequest, queryset: QuerySet[Runner]) -> None:
        _steer_each(self, request, queryset, partial(stop_runner, grace_seconds=0), "asked to stop now")

    @admin.action(description="Pause", permissions=["steer"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Runner]) -> None:
        _steer_each(self, request, queryset, pause_runner, "asked to pause")

    @admin.action(description="Resume", permissions=["steer"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Runner]) -> None:
        _steer_each(self, request, queryset, resume_runner, "asked to go on")

    @admin.action(description="Start again", permissions=["steer"])
    def restart_selected(self, request: HttpRequest, queryset: QuerySet[Runner]) -> None:
        _steer_each(self, request, queryset, restart_runner, "starting again")

    # --- Acts on the runner that is shown. Each asks first, and so is a POST.

    @action(
        description="Stop",
        url_path="stop",
        icon="stop_circle",
        permissions=["steer"],
        dialog={
            "title": "Stop this runner?",
            "description": "SIGINT, later SIGTERM, and SIGKILL to all its processes after the grace period.",
            "form_class": StopForm,
            "form_submit_text": "Stop",
        },
    )
    def stop_this(self, request: HttpRequest, form: StopForm, object_id: str) -> HttpResponse:
        grace = form.cleaned_data["grace_seconds"]
        return self._steer_one(request, object_id, partial(stop_runner, grace_seconds=grace), "asked to stop")

    @action(
        description="Pause",
        url_path="pause",
        icon="pause_circle",
        permissions=["steer"],
        dialog={
            "title": "Pause this runner?",
            "description": "Its processes are suspended until it is resumed.",
            "form_class": None,
            "form_submit_text": "Pause",
        },
    )
    def pause_this(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        return self._steer_one(request, object_id, pause_runner, "asked to pause")

    @action(
        description="Resume",
        url_path="resume",
        icon="play_circle",
        permissions=["steer"],
        dialog={
            "title": "Resume this runner?",
            "description": "Its processes go on where they were suspended.",
            "form_class": None,
            "form_submit_text": "Resume",
        },
    )
    def resume_this(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        return self._steer_one(request, object_id, resume_runner, "asked to go on")

    @action(description="Dashboard", url_path="dashboard", icon="monitoring")
    def open_in_dashboard(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponse(status=302, headers={"Location": reverse("dashboard:runner", args=[UUID(object_id)])})

    def _steer_one(self, request: HttpRequest, object_id: str, steer: Steer, done: str) -> HttpResponse:
        _steer_each(self, request, Runner.objects.filter(pk=UUID(object_id)), steer, done)
        # The dialog is sent by htmx: this header makes it leave for the runner's page.
        return HttpResponse(headers={"HX-Redirect": reverse("admin:runners_runner_change", args=[object_id])})


def _steer_each(page: ModelAdmin, request: HttpRequest, runners: QuerySet[Runner], steer: Steer, done: str) -> None:
    """Call the service for each runner, each in its own transaction; tell how many were done, and each refusal."""
    refusals, count = [], 0
    for runner_id in list(runners.values_list("pk", flat=True)):
        try:
            steer(runner_id, actor=actor_of(request))
        except RunnerError as refusal:
            refusals.append(refusal.message)
        else:
            count += 1
    if count:
        page.message_user(request, f"{count} {'runner' if count == 1 else 'runners'} {done}.", messages.SUCCESS)
    for refusal_message in refusals[:MAX_REFUSALS_TOLD]:
        page.message_user(request, refusal_message, messages.WARNING)
    if len(refusals) > MAX_REFUSALS_TOLD:
        page.message_user(request, f"{len(refusals) - MAX_REFUSALS_TOLD} more were refused.", messages.WARNING)


def _status_labels() -> list[tuple[str, str, str]]:
    """Return status, text and colour of each label, for the browser to copy."""
    return [(status.value, status.label, STATUS_COLOURS[status]) for status in S]


def _seen(runner: Runner) -> Observation | None:
    """Return what was last seen of the present attempt, while it has a process."""
    seen: Observation | None = getattr(runner, "observation", None)
    fits = seen is not None and seen.generation == runner.generation and runner.status in OCCUPYING
    return seen if fits else None


def _figure(runner: Runner, name: str, content: Any) -> str:
    return format_html('<span data-runner="{}" data-figure="{}">{}</span>', runner.pk, name, content)
