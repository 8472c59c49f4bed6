"""Personalities and agents as staff see them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesCheckboxFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from agents.admin_acts import act_on_each
from agents.admin_jobs import JobAdmin as JobAdmin
from agents.admin_time import TimeEntryAdmin as TimeEntryAdmin
from agents.exceptions import AgentError
from agents.figures import figures_of_agents
from agents.models import Agent, AgentMove, Assignment, Personality, PersonalityVersion, Thought
from agents.prompts import check_template
from agents.services import (
    create_agent,
    kill_agent,
    pause_agent,
    resume_agent,
    retire_agent,
    revive_agent,
    save_personality,
)
from agents.services.personalities import checked_limits
from agents.states import AgentStatus
from runners.actors import actor_of
from runners.admin_base import LinesField, ReadOnlyInline, link_to
from runners.backends import all_backends, get_backend
from runners.exceptions import InvalidRequest
from runners.states import ProjectStatus

A = AgentStatus
STATUS_COLOURS = {
    A.SPAWNING: "info",
    A.IDLE: "primary",
    A.WORKING: "success",
    A.PAUSED: "warning",
    A.COMPLETED: "info",
    A.ERROR: "danger",
    A.RETIRED: "",
}


class PersonalityForm(forms.ModelForm):  # type: ignore[type-arg]
    strengths = LinesField(required=False, help_text="One on each line.")
    specialties = LinesField(required=False, help_text="One on each line.")
    flags = LinesField(required=False, help_text="For the program; one word on each line.")
    argv = LinesField(required=False, help_text="The command itself, for backend `command`; one word on each line.")
    default_backend = forms.ChoiceField(
        choices=lambda: [(backend.name, backend.label) for backend in all_backends()], widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = Personality
        exclude: list[str] = ["version"]
        widgets = {
            "description": UnfoldAdminTextareaWidget(attrs={"rows": 2}),
            "role_prompt": UnfoldAdminTextareaWidget(attrs={"rows": 14}),
        }

    def clean_role_prompt(self) -> str:
        text: str = self.cleaned_data["role_prompt"]
        try:
            check_template(text)
        except AgentError as refusal:
            raise forms.ValidationError(refusal.message) from None
        return text

    def clean_limits(self) -> dict[str, int]:
        try:
            return checked_limits(self.cleaned_data["limits"])
        except AgentError as refusal:
            raise forms.ValidationError(refusal.message) from None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        try:
            backend = get_backend(cleaned.get("default_backend", ""))
            backend.check_flags(cleaned.get("flags", []))
            backend.check_approvals(cleaned.get("approvals", ""))
        except InvalidRequest as refusal:
            field = str(refusal.facts.get("field"))
            self.add_error(field if field in {"flags", "approvals"} else "default_backend", refusal.message)
        return cleaned


class VersionInline(ReadOnlyInline):
    model = PersonalityVersion
    fields = ["version", "actor", "created_at"]
    readonly_fields = fields
    ordering = ["-version"]


@admin.register(Personality)
class PersonalityAdmin(ModelAdmin):  # type: ignore[misc]
    form = PersonalityForm
    list_display = ["name", "beginning", "default_backend", "model", "agent_count", "version", "updated_at"]
    list_filter = ["default_backend"]
    search_fields = ["name", "description"]
    fieldsets = [
        (None, {"fields": ["name", "description", "role_prompt"]}),
        ("Character", {"fields": [("strengths", "specialties"), ("work_style", "communication_style")]}),
        ("Program", {"fields": [("default_backend", "model"), ("flags", "argv"), "approvals"]}),
        ("Limits", {"fields": [("max_minutes", "max_restarts", "grace_seconds"), "limits"]}),
    ]
    inlines = [VersionInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Personality]:
        return Personality.objects.annotate(agent_count=Count("agents"))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["name"] if obj else []

    def save_model(self, request: HttpRequest, obj: Personality, form: Any, change: bool) -> None:
        save_personality(obj, {}, actor=actor_of(request))

    @display(description="description")
    def beginning(self, personality: Personality) -> str:
        return personality.description[:90]

    @display(description="agents", ordering="agent_count")
    def agent_count(self, personality: Any) -> int:
        return int(personality.agent_count)


class AgentForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Agent
        fields = ["name", "personality", "project"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" in self.fields:
            self.fields["name"].required = False
            self.fields["name"].help_text = "It gets one without: cadet-elite-kagu."

    def clean_project(self) -> Any:
        project = self.cleaned_data["project"]
        if project and project.status == ProjectStatus.ARCHIVED:
            raise forms.ValidationError(f"The project {project.name} is archived.")
        return project


class ThoughtInline(ReadOnlyInline):
    model = Thought
    fields = ["at", "text"]
    readonly_fields = fields


class AgentAssignmentInline(ReadOnlyInline):
    model = Assignment
    verbose_name_plural = "jobs"
    fields = ["job_link", "started_at", "ended_at", "outcome", "note"]
    readonly_fields = fields

    @display(description="job")
    def job_link(self, assignment: Assignment) -> str:
        return link_to(assignment.job, f"{assignment.job_id}: {assignment.job.title}"[:80])


class AgentMoveInline(ReadOnlyInline):
    model = AgentMove
    verbose_name_plural = "history"
    fields = ["at", "from_status", "to_status", "actor", "reason"]
    readonly_fields = fields
    ordering = ["-id"]


@admin.register(Agent)
class AgentAdmin(ModelAdmin):  # type: ignore[misc]
    form = AgentForm
    list_display = [
        "name",
        "status_badge",
        "personality_link",
        "project_link",
        "job_link",
        "runner_link",
        "status_changed_at",
    ]
    list_filter = [
        ("status", ChoicesCheckboxFilter),
        ("personality", AutocompleteSelectFilter),
        ("project", AutocompleteSelectFilter),
    ]
    list_filter_submit = True
    search_fields = ["name"]
    autocomplete_fields = ["personality", "project"]
    date_hierarchy = "created_at"
    actions = ["pause_selected", "resume_selected", "kill_selected", "revive_selected", "retire_selected"]
    inlines = [AgentAssignmentInline, ThoughtInline, AgentMoveInline]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return ["name", "personality", "project"]
        return [
            ("name", "status_badge"),
            ("personality_link", "project_link"),
            ("job_link", "runner_link"),
            ("jobs_done", "hours"),
            ("reason", "status_changed_at", "created_at"),
        ]

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return self.inlines if obj else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        return Agent.objects.select_related("personality", "project").with_current()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("agents.view_agent") or request.user.has_perm("agents.change_agent")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("agents.change_agent")

    def save_model(self, request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        made = create_agent(
            personality=obj.personality.name,
            name=obj.name,
            project=obj.project.name if obj.project else None,
            actor=actor_of(request),
        )
        obj.pk, obj.name, obj.status = made.pk, made.name, made.status

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def status_badge(self, agent: Agent) -> tuple[str, str]:
        return agent.status, agent.get_status_display()

    @display(description="personality", ordering="personality__name")
    def personality_link(self, agent: Agent) -> str:
        return link_to(agent.personality)

    @display(description="project", ordering="project__name")
    def project_link(self, agent: Agent) -> str:
        return link_to(agent.project)

    @display(description="job")
    def job_link(self, agent: Any) -> str:
        return link_to(agent.current[0].job if agent.current else None)

    @display(description="jobs")
    def jobs_done(self, agent: Agent) -> str:
        figures = figures_of_agents([agent.pk])[agent.pk]
        return f"{figures.completed} completed, {figures.failed} failed"

    @display(description="hours")
    def hours(self, agent: Agent) -> str:
        return f"{figures_of_agents([agent.pk])[agent.pk].seconds / 3600:.2f}"

    @display(description="runner")
    def runner_link(self, agent: Any) -> str:
        return link_to(agent.current[0].runner if agent.current else None)

    @admin.action(description="Pause", permissions=["steer"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        act_on_each(self, request, queryset.values_list("pk", flat=True), pause_agent, "paused")

    @admin.action(description="Resume", permissions=["steer"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        act_on_each(self, request, queryset.values_list("pk", flat=True), resume_agent, "resumed")

    @admin.action(description="Kill: stop what runs at once", permissions=["steer"])
    def kill_selected(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        act_on_each(self, request, queryset.values_list("pk", flat=True), kill_agent, "killed")

    @admin.action(description="Revive from an error", permissions=["steer"])
    def revive_selected(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        act_on_each(self, request, queryset.values_list("pk", flat=True), revive_agent, "idle again")

    @admin.action(description="Retire for good", permissions=["steer"])
    def retire_selected(self, request: HttpRequest, queryset: QuerySet[Agent]) -> None:
        act_on_each(self, request, queryset.values_list("pk", flat=True), retire_agent, "retired")
