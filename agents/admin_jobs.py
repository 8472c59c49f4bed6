"""Jobs, assignments and dispatch as staff see them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesCheckboxFilter, RangeDateTimeFilter
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from agents.admin_acts import act_on_each
from agents.exceptions import AgentError
from agents.models import Agent, Assignment, Comment, Deliverable, Dependency, DispatchSettings, Job, JobMove
from agents.services import (
    assign_job,
    cancel_job,
    change_job,
    complete_job,
    create_job,
    release_job,
    retry_job,
    set_dispatch,
)
from agents.services.dispatch import check_dispatch
from agents.states import Decision, JobStatus, Outcome, Priority
from runners.actors import actor_of
from runners.admin_base import LinesField, ReadOnlyAdmin, ReadOnlyInline, link_to

J = JobStatus
STATUS_COLOURS = {
    J.PENDING: "info",
    J.BLOCKED: "warning",
    J.IN_PROGRESS: "primary",
    J.COMPLETED: "success",
    J.FAILED: "danger",
    J.CANCELLED: "",
}
PRIORITY_COLOURS = {Priority.LOW: "", Priority.MEDIUM: "info", Priority.HIGH: "warning", Priority.CRITICAL: "danger"}
OUTCOME_COLOURS = {
    Outcome.OPEN: "primary",
    Outcome.COMPLETED: "success",
    Outcome.FAILED: "danger",
    Outcome.LOST: "danger",
    Outcome.STOPPED: "warning",
    Outcome.RELEASED: "info",
    Outcome.CANCELLED: "",
}
#: Fields of the form that change_job() takes.
FIELDS = ["title", "description", "priority", "labels", "estimated_hours", "worktree"]


class JobForm(forms.ModelForm):  # type: ignore[type-arg]
    labels = LinesField(required=False, help_text="One on each line.")
    dependencies = LinesField(required=False, help_text="Ids of jobs to wait for, one on each line.")

    class Meta:
        model = Job
        fields = [*FIELDS, "project", "wanted_agent", "wanted_person"]
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 8})}

    def clean_dependencies(self) -> list[str]:
        wanted: list[str] = self.cleaned_data["dependencies"]
        missing = sorted(set(wanted) - set(Job.objects.filter(pk__in=wanted).values_list("pk", flat=True)))
        if missing:
            raise forms.ValidationError(f"There is no job {', '.join(missing)}.")
        return wanted

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("wanted_agent") and cleaned.get("wanted_person"):
            self.add_error("wanted_person", "A job is meant for an agent or for a person, not for both.")
        moved = "project" in self.changed_data and self.instance.status == J.IN_PROGRESS
        if moved and not self.instance._state.adding:
            self.add_error("project", "It is being worked on: its project stays.")
        return cleaned

    def wanted(self) -> dict[str, Any]:
        """Return the changed fields as change_job() takes them: records by name."""
        fields = {name: self.cleaned_data[name] for name in FIELDS if name in self.changed_data}
        for name in ("project", "wanted_agent", "wanted_person"):
            if name in self.changed_data:
                fields[name] = str(self.cleaned_data[name]) if self.cleaned_data[name] else None
        return fields


class AssignForm(BaseDialogForm):  # type: ignore[misc]
    agent = forms.ModelChoiceField(queryset=Agent.objects.none(), widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["agent"].queryset = Agent.objects.available()


class NoteForm(BaseDialogForm):  # type: ignore[misc]
    note = forms.CharField(max_length=300, required=False, widget=UnfoldAdminTextInputWidget)


class DeliverableInline(ReadOnlyInline):
    model = Deliverable
    fields = ["text", "done_at", "done_by"]
    readonly_fields = fields


class DependencyInline(ReadOnlyInline):
    model = Dependency
    fk_name = "job"
    fields = ["needs_link", "needs_status"]
    readonly_fields = fields

    @display(description="needs")
    def needs_link(self, edge: Dependency) -> str:
        return link_to(edge.needs, f"{edge.needs_id}: {edge.needs.title}")

    @display(description="status")
    def needs_status(self, edge: Dependency) -> str:
        return edge.needs.get_status_display()


class CommentInline(ReadOnlyInline):
    model = Comment
    fields = ["at", "actor", "text"]
    readonly_fields = fields


class AssignmentInline(ReadOnlyInline):
    model = Assignment
    fields = ["worker", "started_at", "ended_at", "outcome", "note"]
    readonly_fields = fields


class JobMoveInline(ReadOnlyInline):
    model = JobMove
    verbose_name_plural = "history"
    fields = ["at", "from_status", "to_status", "actor", "reason"]
    readonly_fields = fields
    ordering = ["-id"]


@admin.register(Job)
class JobAdmin(ModelAdmin):  # type: ignore[misc]
    form = JobForm
    list_display = ["id", "title", "status_badge", "priority_badge", "project_link", "worker", "asks", "created_at"]
    list_filter = [
        ("status", ChoicesCheckboxFilter),
        ("priority", ChoicesCheckboxFilter),
        ("decision", ChoicesCheckboxFilter),
        ("project", AutocompleteSelectFilter),
        ("created_at", RangeDateTimeFilter),
    ]
    list_filter_submit = True
    list_per_page = 50
    search_fields = ["id", "title", "description"]
    autocomplete_fields = ["project", "wanted_agent", "wanted_person"]
    date_hierarchy = "created_at"
    ordering = ["-created_at"]
    actions = ["complete_selected", "release_selected", "retry_selected", "cancel_selected"]
    actions_detail = ["assign_this", "complete_this", "release_this", "cancel_this"]
    inlines = [DependencyInline, DeliverableInline, AssignmentInline, CommentInline, JobMoveInline]
    readonly_fields = ["status_badge", "worker", "asks", "reason", "created_by", "created_at", "ended_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return Job.objects.select_related("project").with_current()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        wanted = [
            "title",
            "description",
            ("project", "priority"),
            ("labels", "estimated_hours"),
            ("wanted_agent", "wanted_person"),
            "worktree",
        ]
        if obj is None:
            return [*wanted, "dependencies"]
        return [("status_badge", "worker"), ("reason", "asks"), *wanted, ("created_by", "created_at", "ended_at")]

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self.inlines if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_assign_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("agents.add_assignment")

    def has_settle_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("agents.change_job")

    def save_model(self, request: HttpRequest, obj: Job, form: JobForm, change: bool) -> None:
        actor = actor_of(request)
        if change:
            change_job(obj.pk, actor=actor, **form.wanted())
            return
        made = create_job(actor=actor, dependencies=form.cleaned_data["dependencies"], **form.wanted())
        obj.pk, obj.status = made.pk, made.status

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def status_badge(self, job: Job) -> tuple[str, str]:
        return job.status, job.get_status_display()

    @display(description="priority", ordering="priority", label=PRIORITY_COLOURS)
    def priority_badge(self, job: Job) -> tuple[str, str]:
        return job.priority, job.get_priority_display()

    @display(description="project", ordering="project__name")
    def project_link(self, job: Job) -> str:
        return link_to(job.project)

    @display(description="worker")
    def worker(self, job: Any) -> str:
        current = job.current[0] if job.current else None
        if current is None:
            return link_to(None)
        return link_to(current.agent) if current.agent else current.worker

    @display(description="asks", ordering="decision")
    def asks(self, job: Job) -> str:
        return Decision(job.decision).label if job.decision else ""

    # --- Acts on the selected jobs.

    @admin.action(description="Call done", permissions=["settle"])
    def complete_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        act_on_each(self, request, queryset.values_list("pk", flat=True), complete_job, "completed")

    @admin.action(description="Put back on the board", permissions=["settle"])
    def release_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        act_on_each(self, request, queryset.values_list("pk", flat=True), release_job, "put back")

    @admin.action(description="Try again", permissions=["settle"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        act_on_each(self, request, queryset.values_list("pk", flat=True), retry_job, "to be tried again")

    @admin.action(description="Cancel", permissions=["settle"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        act_on_each(self, request, queryset.values_list("pk", flat=True), cancel_job, "cancelled")

    # --- Acts on the job that is shown. Each asks first, and so is a POST.

    @action(
        description="Assign",
        url_path="assign",
        icon="smart_toy",
        permissions=["assign"],
        dialog={
            "title": "Assign this job?",
            "description": "The agent's runner is launched at once.",
            "form_class": AssignForm,
            "form_submit_text": "Assign",
        },
    )
    def assign_this(self, request: HttpRequest, form: AssignForm, object_id: str) -> HttpResponse:
        agent = form.cleaned_data["agent"]
        return self._act(
            request, object_id, lambda job, actor: assign_job(job, agent.pk, actor=actor, user=request.user), "assigned"
        )

    @action(
        description="Done",
        url_path="complete",
        icon="task_alt",
        permissions=["settle"],
        dialog={
            "title": "Call this job done?",
            "description": "What waits for it comes free. A runner that is still at it is stopped.",
            "form_class": NoteForm,
            "form_submit_text": "Done",
        },
    )
    def complete_this(self, request: HttpRequest, form: NoteForm, object_id: str) -> HttpResponse:
        return self._settle(request, object_id, form, complete_job, "completed")

    @action(
        description="Put back",
        url_path="release",
        icon="undo",
        permissions=["settle"],
        dialog={
            "title": "Put this job back on the board?",
            "description": "A runner that is still at it is stopped.",
            "form_class": NoteForm,
            "form_submit_text": "Put back",
        },
    )
    def release_this(self, request: HttpRequest, form: NoteForm, object_id: str) -> HttpResponse:
        return self._settle(request, object_id, form, release_job, "put back")

    @action(
        description="Cancel",
        url_path="cancel",
        icon="cancel",
        permissions=["settle"],
        dialog={
            "title": "Cancel this job?",
            "description": "What waits for it asks what to do.",
            "form_class": NoteForm,
            "form_submit_text": "Cancel the job",
        },
    )
    def cancel_this(self, request: HttpRequest, form: NoteForm, object_id: str) -> HttpResponse:
        return self._settle(request, object_id, form, cancel_job, "cancelled")

    def _settle(self, request: HttpRequest, object_id: str, form: NoteForm, verb: Any, done: str) -> HttpResponse:
        note = form.cleaned_data["note"]
        return self._act(request, object_id, lambda job, actor: verb(job, actor=actor, note=note), done)

    def _act(self, request: HttpRequest, object_id: str, verb: Any, done: str) -> HttpResponse:
        act_on_each(self, request, [object_id], lambda job, actor: verb(job, actor), done)
        # The dialog is sent by htmx: this header makes it leave for the job's page.
        return HttpResponse(headers={"HX-Redirect": reverse("admin:agents_job_change", args=[object_id])})


@admin.register(Assignment)
class AssignmentAdmin(ReadOnlyAdmin):
    list_display = ["job_link", "worker_link", "outcome_badge", "started_at", "ended_at", "note"]
    list_filter = [
        ("outcome", ChoicesCheckboxFilter),
        ("agent", AutocompleteSelectFilter),
        ("started_at", RangeDateTimeFilter),
    ]
    list_select_related = ["job", "agent", "person", "runner", "personality_version__personality"]
    search_fields = ["job__id", "job__title", "agent__name", "person__username"]
    ordering = ["-started_at"]
    readonly_fields = ["job_link", "worker_link", "runner_link", "role"]
    fields = [
        ("job_link", "worker_link"),
        ("runner_link", "role"),
        ("started_at", "ended_at"),
        ("outcome", "note"),
        "actor",
    ]

    @display(description="job", ordering="job")
    def job_link(self, assignment: Assignment) -> str:
        return link_to(assignment.job, f"{assignment.job_id}: {assignment.job.title}"[:80])

    @display(description="worker")
    def worker_link(self, assignment: Assignment) -> str:
        return link_to(assignment.agent) if assignment.agent else assignment.worker

    @display(description="outcome", ordering="outcome", label=OUTCOME_COLOURS)
    def outcome_badge(self, assignment: Assignment) -> tuple[str, str]:
        return assignment.outcome, assignment.get_outcome_display()

    @display(description="runner")
    def runner_link(self, assignment: Assignment) -> str:
        return link_to(assignment.runner)

    @display(description="role")
    def role(self, assignment: Assignment) -> str:
        used = assignment.personality_version
        return f"{used.personality.name}, version {used.version}" if used else ""


class DispatchForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = DispatchSettings
        fields = [
            "project",
            "enabled",
            "max_parallel",
            "max_failures",
            "backend",
            "work_days",
            "work_from",
            "work_until",
            "time_zone",
        ]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        try:
            check_dispatch(DispatchSettings(**cleaned))
        except AgentError as refusal:
            self.add_error(refusal.facts.get("field") or None, refusal.message)
        return cleaned


@admin.register(DispatchSettings)
class DispatchAdmin(ModelAdmin):  # type: ignore[misc]
    form = DispatchForm
    list_display = ["project", "enabled", "max_parallel", "max_failures", "waits_for", "last_dispatched_at"]
    list_filter = ["enabled"]
    list_select_related = ["project"]
    search_fields = ["project__name"]
    autocomplete_fields = ["project"]
    readonly_fields = ["waits_for", "last_dispatched_at"]
    fields = [
        "project",
        ("enabled", "waits_for"),
        ("max_parallel", "max_failures"),
        "backend",
        ("work_from", "work_until"),
        ("work_days", "time_zone"),
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.readonly_fields, "project"] if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: DispatchSettings, form: Any, change: bool) -> None:
        fields = {name: form.cleaned_data[name] for name in form.changed_data if name != "project"}
        set_dispatch(obj.project, actor=actor_of(request), **fields)
