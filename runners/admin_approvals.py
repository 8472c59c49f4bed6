"""Approvals as staff see them, and the rules as staff keep them."""

import json
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesCheckboxFilter, RangeDateTimeFilter
from unfold.decorators import display

from runners.actors import actor_of
from runners.admin_base import ReadOnlyAdmin, link_to
from runners.exceptions import RunnerError
from runners.models import Approval, ApprovalRule, ApprovalTerms, Project
from runners.services.approvals.rules import delete_rule, save_rule, set_terms
from runners.states import ApprovalState


@admin.register(Approval)
class ApprovalAdmin(ReadOnlyAdmin):
    list_display = ["wants", "state_badge", "runner_link", "asked_at", "expires_at", "decided_by", "rule_text"]
    list_filter = [
        ("state", ChoicesCheckboxFilter),
        "tool_name",
        ("asked_at", RangeDateTimeFilter),
        "runner__project",
    ]
    list_select_related = ["runner"]
    search_fields = ["wants", "decided_by", "rule_text", "runner__name"]
    date_hierarchy = "asked_at"
    fields = [
        "wants",
        "state",
        "runner_link",
        "generation",
        "session",
        "tool_name",
        "asked_for",
        "reason",
        ("asked_at", "expires_at"),
        ("decided_at", "decided_by"),
        "message",
        "rule_text",
        ("sent_at", "delivered_at"),
        "request_id",
    ]
    readonly_fields = ["runner_link", "asked_for"]

    @display(
        description="state",
        ordering="state",
        label={
            ApprovalState.WAITING: "warning",
            ApprovalState.ALLOWED: "success",
            ApprovalState.DENIED: "danger",
            ApprovalState.EXPIRED: "danger",
            ApprovalState.WITHDRAWN: "",
        },
    )
    def state_badge(self, approval: Approval) -> tuple[str, str]:
        return approval.state, approval.get_state_display()

    @display(description="runner", ordering="runner__name")
    def runner_link(self, approval: Approval) -> str:
        return link_to(approval.runner)

    @display(description="input")
    def asked_for(self, approval: Approval) -> str:
        text = json.dumps(approval.tool_input, indent=2, ensure_ascii=False)
        return format_html('<pre class="whitespace-pre-wrap">{}</pre>', text[:20_000])


@admin.register(ApprovalRule)
class ApprovalRuleAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    list_display = ["position", "effect", "tool", "pattern", "scope", "scope_key", "active", "created_by"]
    list_display_links = ["tool"]
    list_filter = [("scope", ChoicesCheckboxFilter), ("effect", ChoicesCheckboxFilter), "active"]
    list_filter_submit = True
    search_fields = ["tool", "pattern", "scope_key"]
    fields = ["position", "effect", "tool", "pattern", ("scope", "scope_key"), "message", "active"]

    def save_model(self, request: HttpRequest, obj: ApprovalRule, form: Any, change: bool) -> None:
        rule = ApprovalRule.objects.get(pk=obj.pk) if change else ApprovalRule()
        try:
            obj.pk = save_rule(rule, form.cleaned_data, actor=actor_of(request)).pk
        except RunnerError as refusal:
            self.message_user(request, refusal.message, messages.ERROR)

    def delete_model(self, request: HttpRequest, obj: ApprovalRule) -> None:
        delete_rule(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for rule in queryset:
            delete_rule(rule, actor=actor_of(request))


@admin.register(ApprovalTerms)
class ApprovalTermsAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ["project", "expires_seconds", "message"]
    list_select_related = ["project"]
    fields = ["project", "expires_seconds", "message"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["project"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApprovalTerms, form: Any, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in ("expires_seconds", "message")}
        set_terms(Project.objects.get(pk=obj.project_id), values, actor=actor_of(request))
