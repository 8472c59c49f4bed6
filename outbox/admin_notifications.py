"""Notification targets, their rules and their log as staff see them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordToggleWidget, UnfoldAdminTextInputWidget

from outbox.actors import actor_of
from outbox.exceptions import NotificationRefused
from outbox.models import Notification, NotificationRule, NotificationTarget
from outbox.notifications.address import describe
from outbox.services.audit import record_act
from outbox.services.targets import check_rule, check_target, chosen, delete_target, save_target, send_again, try_target
from outbox.states import NotificationStatus, Severity


class WordsField(forms.Field):
    """A list of words, separated by spaces or commas."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return " ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        return str(value or "").replace(",", " ").split()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))


class TargetForm(forms.ModelForm):  # type: ignore[type-arg]
    new_url = forms.CharField(
        label="Apprise URL",
        required=False,
        widget=UnfoldAdminPasswordToggleWidget(attrs={"autocomplete": "off"}),
        help_text="As in ntfy://host/topic, tgram://token/chat, slack://…, mailto://…. Kept encrypted and not shown "
        "again; empty: it stays as it is.",
    )

    class Meta:
        model = NotificationTarget
        fields = [
            "name",
            "active",
            "settle_seconds",
            "window_seconds",
            "quiet_from",
            "quiet_until",
            "time_zone",
            "critical_passes",
        ]

    def clean_new_url(self) -> str:
        url = str(self.cleaned_data["new_url"]).strip()
        if not url and not self.instance.url:
            raise forms.ValidationError("A target needs an Apprise URL.")
        if url:
            _or_complain(lambda: describe(url))
        return url

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        self.instance.url = self.instance.url or "entered"
        self.instance.shown = self.instance.shown or "entered"
        self.instance.created_by = self.instance.created_by or "entered"
        try:
            check_target(self.instance)
        except NotificationRefused as refusal:
            self.add_error(str(refusal.facts.get("field", "")) or None, refusal.message)


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    event_types = WordsField(help_text="Patterns: runner.*, system.alert, *")
    projects = WordsField(required=False, help_text="Empty: all")

    class Meta:
        model = NotificationRule
        fields = ["event_types", "severity", "projects"]

    def clean_event_types(self) -> list[str]:
        types: list[str] = self.cleaned_data["event_types"]
        _or_complain(lambda: check_rule(types, Severity.INFO))
        return types


class RuleInline(TabularInline):  # type: ignore[misc]
    model = NotificationRule
    form = RuleForm
    extra = 0


@admin.register(NotificationTarget)
class NotificationTargetAdmin(ModelAdmin):  # type: ignore[misc]
    form = TargetForm
    inlines = [RuleInline]
    list_display = ["name", "shown", "active", "told_of", "created_by", "created_at"]
    list_filter = ["active"]
    search_fields = ["name", "shown"]
    actions = ["try_selected"]
    readonly_fields = ["shown"]
    fieldsets = [
        (None, {"fields": [("name", "active"), ("new_url", "shown")]}),
        ("Grouping", {"fields": [("settle_seconds", "window_seconds")]}),
        ("Quiet hours", {"fields": [("quiet_from", "quiet_until"), ("time_zone", "critical_passes")]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[NotificationTarget]:
        return NotificationTarget.objects.prefetch_related("rules")

    def has_try_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("outbox.change_notificationtarget")

    def save_model(self, request: HttpRequest, obj: NotificationTarget, form: Any, change: bool) -> None:
        if not change:
            obj.url = obj.shown = obj.created_by = ""
        save_target(obj, actor=actor_of(request), url=form.cleaned_data["new_url"])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        target = form.instance
        before = {"rules": chosen(target)["rules"]}
        super().save_related(request, form, formsets, change)
        after = {"rules": chosen(target)["rules"]}
        if before != after:
            record_act(
                "notification_target.change_rules",
                actor=actor_of(request),
                target_type="notification_target",
                target_id=target.pk,
                target_name=target.name,
                before=before,
                after=after,
            )

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        # The log goes along, which nobody may delete by itself, and which is too long to be listed.
        return [f"{target} with its rules and its log" for target in objs], {"targets": len(objs)}, set(), []

    def delete_model(self, request: HttpRequest, obj: NotificationTarget) -> None:
        delete_target(obj, actor=actor_of(request))

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[NotificationTarget]) -> None:
        for target in queryset:
            delete_target(target, actor=actor_of(request))

    @display(description="told of")
    def told_of(self, target: NotificationTarget) -> str:
        return "; ".join(str(rule) for rule in target.rules.all()) or "nothing"

    @admin.action(description="Send a test message", permissions=["try"])
    def try_selected(self, request: HttpRequest, queryset: QuerySet[NotificationTarget]) -> None:
        for target in queryset:
            try_target(target, actor=actor_of(request))
            self.message_user(request, f"A test is on its way to {target.name}: see the log.", messages.SUCCESS)


@admin.register(Notification)
class NotificationAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ["created_at", "target", "shown_severity", "title", "shown_status", "attempts", "error"]
    list_filter = ["status", "severity", "target", "created_at"]
    list_select_related = ["target"]
    search_fields = ["title", "body", "error"]
    list_per_page = 50
    show_full_result_count = False
    actions = ["send_selected_again"]
    fields = [
        ("target", "shown_severity"),
        "title",
        "body",
        ("event_count", "shown_status"),
        ("attempts", "next_attempt_at"),
        "error",
        ("created_at", "settled_at"),
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("outbox.change_notificationtarget")

    @display(
        description="severity",
        ordering="severity",
        label={Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "danger"},
    )
    def shown_severity(self, message: Notification) -> str:
        return message.severity

    @display(
        description="status",
        ordering="status",
        label={
            NotificationStatus.PENDING: "info",
            NotificationStatus.SENT: "success",
            NotificationStatus.FAILED: "danger",
        },
    )
    def shown_status(self, message: Notification) -> str:
        return message.status

    @admin.action(description="Send again what was given up", permissions=["again"])
    def send_selected_again(self, request: HttpRequest, queryset: QuerySet[Notification]) -> None:
        for message in queryset.filter(status=NotificationStatus.FAILED).select_related("target"):
            send_again(message, actor=actor_of(request))
            self.message_user(request, f"{message} is on its way again.", messages.SUCCESS)


def _or_complain(check: Any) -> None:
    try:
        check()
    except NotificationRefused as refusal:
        raise forms.ValidationError(refusal.message) from None
