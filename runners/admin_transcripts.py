"""Transcripts and the rules of redaction as staff see them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import ChoicesCheckboxFilter, RangeDateTimeFilter
from unfold.decorators import display

from runners.actors import actor_of
from runners.admin_base import ReadOnlyAdmin, link_to
from runners.models import RedactionRule, Transcript
from runners.redaction import BadRule, Rule, check_rule
from runners.services.redaction import delete_rule, save_rule


@admin.register(Transcript)
class TranscriptAdmin(ReadOnlyAdmin):
    list_display = ["grown_at", "runner_link", "generation", "kind", "size", "stored", "parts", "state", "download"]
    list_filter = [
        ("kind", ChoicesCheckboxFilter),
        ("completed_at", admin.EmptyFieldListFilter),
        ("removed_at", admin.EmptyFieldListFilter),
        ("grown_at", RangeDateTimeFilter),
    ]
    list_select_related = ["runner"]
    search_fields = ["runner__name", "runner__project__name"]
    ordering = ["-grown_at", "-id"]

    @display(description="runner")
    def runner_link(self, transcript: Transcript) -> str:
        return link_to(transcript.runner)

    @display(description="size", ordering="size_bytes")
    def size(self, transcript: Transcript) -> str:
        return filesizeformat(transcript.size_bytes)

    @display(description="in storage", ordering="stored_bytes")
    def stored(self, transcript: Transcript) -> str:
        return filesizeformat(transcript.stored_bytes)

    @display(description="parts", ordering="part_count")
    def parts(self, transcript: Transcript) -> int:
        return transcript.part_count

    @display(description="state", label={"complete": "success", "grows": "info", "removed": ""})
    def state(self, transcript: Transcript) -> str:
        if transcript.removed_at:
            return "removed"
        return "complete" if transcript.is_complete else "grows"

    @display(description="")
    def download(self, transcript: Transcript) -> str:
        if transcript.removed_at:
            return ""
        address = reverse("runner-transcript", args=[transcript.runner_id])
        link = '<a class="text-primary-600 dark:text-primary-500" href="{}?kind={}&attempt={}">Download</a>'
        return format_html(link, address, transcript.kind, transcript.generation)


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = RedactionRule
        fields = ["name", "pattern", "is_active", "note"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.instance.pk and self.instance.is_built_in:
            return cleaned
        try:
            check_rule(Rule(cleaned.get("name", ""), "", cleaned.get("pattern", "")))
        except BadRule as reason:
            raise forms.ValidationError(str(reason)) from None
        return cleaned


@admin.register(RedactionRule)
class RedactionRuleAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    form = RuleForm
    list_display = ["name", "what", "is_active", "changed_at"]
    list_filter = ["is_active"]
    search_fields = ["name", "pattern", "note"]

    @display(description="what it finds")
    def what(self, rule: RedactionRule) -> str:
        return rule.words

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # Counts name it.
        if obj is None:
            return []
        return ["name", "what", "pattern"] if obj.is_built_in else ["name"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is not None and obj.is_built_in:
            return ["name", "what", "is_active", "note"]
        return ["name", "pattern", "is_active", "note"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(super().has_delete_permission(request, obj)) and not (obj and obj.is_built_in)

    def delete_model(self, request: HttpRequest, obj: RedactionRule) -> None:
        delete_rule(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for rule in queryset:
            if not rule.is_built_in:
                delete_rule(rule, actor=actor_of(request))

    def save_model(self, request: HttpRequest, obj: RedactionRule, form: Any, change: bool) -> None:
        save_rule(obj, actor=actor_of(request))
