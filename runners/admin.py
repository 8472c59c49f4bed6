"""Projects, nodes, sessions and their records as staff see them; runners are in admin_runners.py."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesCheckboxFilter, RangeDateTimeFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextareaWidget

from runners.actors import actor_of
from runners.admin_approvals import ApprovalAdmin as ApprovalAdmin
from runners.admin_approvals import ApprovalRuleAdmin as ApprovalRuleAdmin
from runners.admin_approvals import ApprovalTermsAdmin as ApprovalTermsAdmin
from runners.admin_base import LinesField, ReadOnlyAdmin, ReadOnlyInline, link_to
from runners.admin_budgets import BudgetAdmin as BudgetAdmin
from runners.admin_embedding import EmbeddingModelAdmin as EmbeddingModelAdmin
from runners.admin_limits import ProviderLimitAdmin as ProviderLimitAdmin
from runners.admin_operations import OperationAdmin as OperationAdmin
from runners.admin_operations import ReconcilerFindingAdmin as ReconcilerFindingAdmin
from runners.admin_runners import RunnerAdmin as RunnerAdmin
from runners.admin_transcripts import TranscriptAdmin as TranscriptAdmin
from runners.admin_usage import ModelPriceAdmin as ModelPriceAdmin
from runners.admin_versions import VersionAdmin as VersionAdmin
from runners.exceptions import RunnerError
from runners.models import Message, Node, Project, ResourceQuota, Runner, RunnerMove, Session
from runners.services import archive_project, create_project
from runners.services.drain import drain_node, undrain_node
from runners.services.limits import BY_NAME, LARGEST, LIMITS
from runners.services.paths import allowed_directory
from runners.services.projects import change_project
from runners.states import NodeStatus, ProjectStatus, Role

NONE = "–"  # noqa: RUF001 - an en dash is meant


#: One field for each limit of a runner.
LimitFields: Any = type(
    "LimitFields",
    (forms.Form,),
    {
        limit.name: forms.IntegerField(
            label=f"{limit.label}{f' ({limit.unit})' if limit.unit else ''}",
            min_value=limit.minimum,
            max_value=LARGEST,
            required=False,
            widget=UnfoldAdminIntegerFieldWidget,
            help_text=limit.help_text,
        )
        for limit in LIMITS
    },
)


class ProjectForm(LimitFields, forms.ModelForm):  # type: ignore[type-arg,misc]
    tags = LinesField(required=False, help_text="One on each line.")
    max_concurrent_runners = forms.IntegerField(
        min_value=0,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=f"Empty: {ResourceQuota.DEFAULT_MAX_CONCURRENT_RUNNERS}.",
    )

    class Meta:
        model = Project
        fields = ["name", "path", "description", "tags", "transcript_days"]
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 3})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        quota = getattr(self.instance, "quota", None)
        for name in ("max_concurrent_runners", *BY_NAME):
            self.fields[name].initial = getattr(quota, name, None)

    def clean_path(self) -> str:
        try:
            return allowed_directory(self.cleaned_data["path"])
        except RunnerError as refusal:
            raise forms.ValidationError(refusal.message) from None


@admin.register(Project)
class ProjectAdmin(ModelAdmin):  # type: ignore[misc]
    form = ProjectForm
    list_display = ["name", "status_badge", "path", "runners_active", "runners_all", "last_launch_at", "created_at"]
    list_filter = [("status", ChoicesCheckboxFilter), ("created_at", RangeDateTimeFilter)]
    list_filter_submit = True
    search_fields = ["name", "path", "description"]
    date_hierarchy = "created_at"
    actions = ["archive_selected"]
    fields = [
        ("name", "status_badge"),
        "path",
        "description",
        "tags",
        "transcript_days",
        "max_concurrent_runners",
        *BY_NAME,
    ]
    readonly_fields = ["status_badge"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        return Project.objects.select_related("quota").with_runner_counts()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # Events, addresses and working directories name them: they stay.
        return ["status_badge", "name", "path"] if obj else ["status_badge"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Project, form: Any, change: bool) -> None:
        wanted = {
            name: form.cleaned_data[name]
            for name in ("description", "tags", "transcript_days", "max_concurrent_runners")
        }
        wanted["limits"] = {name: form.cleaned_data[name] for name in BY_NAME}
        if change:
            change_project(obj, actor=actor_of(request), **wanted)
        else:
            obj.pk = create_project(name=obj.name, path=obj.path, actor=actor_of(request), **wanted).pk

    @display(
        description="status", ordering="status", label={ProjectStatus.ACTIVE: "success", ProjectStatus.ARCHIVED: ""}
    )
    def status_badge(self, project: Project) -> tuple[str, str]:
        return project.status, project.get_status_display()

    @display(description="active", ordering="active_runner_count")
    def runners_active(self, project: Any) -> int:
        return int(project.active_runner_count)

    @display(description="runners", ordering="runner_count")
    def runners_all(self, project: Any) -> int:
        return int(project.runner_count)

    @admin.action(description="Archive", permissions=["change"])
    def archive_selected(self, request: HttpRequest, queryset: QuerySet[Project]) -> None:
        for project in queryset:
            try:
                archive_project(project, actor=actor_of(request))
            except RunnerError as refusal:
                self.message_user(request, refusal.message, messages.WARNING)
            else:
                self.message_user(request, f"{project.name} is archived.", messages.SUCCESS)


@admin.register(Node)
class NodeAdmin(ReadOnlyAdmin):
    list_display = ["name", "status_badge", "hostname", "occupied_slots", "shown_programs", "version", "last_seen_at"]
    list_filter = [("status", ChoicesCheckboxFilter)]
    search_fields = ["name", "hostname"]
    actions = ["drain_selected", "undrain_selected"]
    readonly_fields = [
        "status_badge",
        "occupied_slots",
        "shown_programs",
        "shown_engine",
        "shown_limits",
        "shown_labels",
    ]
    fields = [
        ("name", "status_badge"),
        ("hostname", "version"),
        ("occupied_slots", "shown_labels"),
        ("shown_programs", "shown_engine"),
        "shown_limits",
        ("registered_at", "last_seen_at"),
        "boot_id",
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Node]:
        return Node.objects.with_occupied()

    def has_drain_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("runners.change_node")

    @display(
        description="status",
        ordering="status",
        label={NodeStatus.ONLINE: "success", NodeStatus.DRAINING: "warning", NodeStatus.OFFLINE: "danger"},
    )
    def status_badge(self, node: Node) -> tuple[str, str]:
        return node.status, node.get_status_display()

    @display(description="slots", ordering="occupied")
    def occupied_slots(self, node: Any) -> str:
        return f"{node.occupied} of {node.slots}"

    @display(description="programs")
    def shown_programs(self, node: Node) -> str:
        found = (
            f"{name} {facts.get('version', '') if isinstance(facts, dict) else ''}"
            for name, facts in node.programs.items()
        )
        return ", ".join(text.strip() for text in sorted(found)) or NONE

    @display(description="container engine")
    def shown_engine(self, node: Node) -> str:
        return node.engine_label or NONE

    @display(description="limits")
    def shown_limits(self, node: Node) -> str:
        return node.limits_label

    @display(description="labels")
    def shown_labels(self, node: Node) -> str:
        return ", ".join(node.labels) or NONE

    @admin.action(description="Drain: take no new runners", permissions=["drain"])
    def drain_selected(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        for node in queryset:
            drain_node(node, actor=actor_of(request))
            self.message_user(request, f"{node.name} takes no new runners.", messages.SUCCESS)

    @admin.action(description="Undrain: take runners again", permissions=["drain"])
    def undrain_selected(self, request: HttpRequest, queryset: QuerySet[Node]) -> None:
        for node in queryset:
            undrain_node(node, actor=actor_of(request))
            self.message_user(request, f"{node.name} is {node.status}.", messages.SUCCESS)


class MessageInline(ReadOnlyInline):
    model = Message
    fields = ["at", "role", "tool_name", "text"]
    readonly_fields = fields
    ordering = ["id"]


class SessionRunnerInline(ReadOnlyInline):
    model = Runner
    fields = ["name", "status", "generation", "created_at", "ended_at"]
    readonly_fields = fields
    ordering = ["created_at"]
    show_change_link = True


@admin.register(Session)
class SessionAdmin(ReadOnlyAdmin):
    list_display = ["shown_title", "project_link", "backend", "message_count", "tokens", "cost", "last_message_at"]
    list_filter = [
        "backend",
        ("began", ChoicesCheckboxFilter),
        ("project", AutocompleteSelectFilter),
        ("started_at", RangeDateTimeFilter),
    ]
    list_select_related = ["project"]
    search_fields = ["title", "external_id", "=id"]
    date_hierarchy = "started_at"
    inlines = [MessageInline, SessionRunnerInline]
    readonly_fields = ["project_link", "resumed_link", "forked_link", "tokens", "cost"]
    fields = [
        "title",
        ("project_link", "backend"),
        ("external_id", "resumed_link"),
        ("began", "forked_link"),
        "rebuilt_because",
        ("started_at", "last_message_at", "ended_at"),
        ("message_count", "tokens", "cost"),
        ("input_tokens", "output_tokens"),
        ("cache_read_tokens", "cache_write_tokens"),
    ]

    @display(description="session", ordering="title")
    def shown_title(self, session: Session) -> str:
        return str(session)[:80]

    @display(description="project", ordering="project__name")
    def project_link(self, session: Session) -> str:
        return link_to(session.project)

    @display(description="resumed from")
    def resumed_link(self, session: Session) -> str:
        return link_to(session.resumed_from)

    @display(description="forked at")
    def forked_link(self, session: Session) -> str:
        return link_to(session.forked_at)

    @display(description="tokens")
    def tokens(self, session: Session) -> str:
        return f"{session.total_tokens:,}" if session.total_tokens else "unknown"

    @display(description="cost", ordering="cost_usd")
    def cost(self, session: Session) -> str:
        """What is not known is not 0; a sum that lacks a part is at least that much."""
        if session.cost_usd is None:
            return "unknown"
        return f"{'≥ ' if session.cost_source == 'unknown' else ''}${session.cost_usd:,.4f}"


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    list_display = ["at", "role_badge", "tool_name", "beginning", "session_link"]
    list_filter = [("role", ChoicesCheckboxFilter), "is_error", ("at", RangeDateTimeFilter)]
    list_select_related = ["session"]
    search_fields = ["text", "tool_name"]
    ordering = ["-id"]
    readonly_fields = ["role_badge", "session_link", "runner_link"]
    fields = [
        ("at", "role_badge"),
        ("session_link", "runner_link"),
        ("tool_name", "is_error"),
        "text",
        "tool_input",
        ("key", "call_id", "anchor"),
    ]

    @display(
        description="role", ordering="role", label={Role.USER: "info", Role.ASSISTANT: "primary", Role.TOOL: "warning"}
    )
    def role_badge(self, message: Message) -> tuple[str, str]:
        return message.role, message.get_role_display()

    @display(description="text")
    def beginning(self, message: Message) -> str:
        return message.text[:100] or NONE

    @display(description="session")
    def session_link(self, message: Message) -> str:
        return link_to(message.session, str(message.session)[:40])

    @display(description="runner")
    def runner_link(self, message: Message) -> str:
        return link_to(message.runner)


@admin.register(RunnerMove)
class RunnerMoveAdmin(ReadOnlyAdmin):
    list_display = ["at", "runner_link", "generation", "from_status", "to_status", "actor", "reason"]
    list_filter = [("to_status", ChoicesCheckboxFilter), ("at", RangeDateTimeFilter)]
    list_select_related = ["runner"]
    search_fields = ["actor", "reason", "runner__name"]
    ordering = ["-id"]

    @display(description="runner")
    def runner_link(self, move: RunnerMove) -> str:
        return link_to(move.runner)
