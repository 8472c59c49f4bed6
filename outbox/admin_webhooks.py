"""Webhooks as staff see them. Created over the page or the API, which show the secret; here they are steered."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from outbox.actors import actor_of
from outbox.exceptions import WebhookInactive, WebhookRefused
from outbox.models import Webhook, WebhookAttempt, WebhookDelivery
from outbox.services.event_body import body_of
from outbox.services.webhooks import change_webhook, delete_webhook, ping_webhook, redeliver
from outbox.states import DeliveryStatus


class _Steered(ModelAdmin):  # type: ignore[misc]
    """Records that only services write."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("outbox.view_webhook")

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("outbox.change_webhook")

    def each(self, request: HttpRequest, records: QuerySet[Any], act: Callable[[Any], object], done: str) -> None:
        """Do it to each, and tell of how many it was done and why not of the others."""
        count = 0
        for record in records:
            try:
                act(record)
            except (WebhookRefused, WebhookInactive) as refusal:
                self.message_user(request, f"{record}: {refusal}", messages.WARNING)
            else:
                count += 1
        if count:
            self.message_user(request, f"{count} {done}.", messages.SUCCESS)


@admin.register(Webhook)
class WebhookAdmin(_Steered):
    list_display = ["__str__", "state", "shown_types", "failing_since", "created_by", "created_at"]
    list_filter = ["active", "created_at"]
    search_fields = ["url", "description", "created_by"]
    ordering = ["created_at"]
    actions = ["ping_selected", "switch_on_selected", "switch_off_selected", "delete_webhooks"]
    fieldsets = [
        (None, {"fields": ["url", "description", "shown_types", "shown_projects"]}),
        ("State", {"fields": ["state", "disabled_reason", "failing_since", "resting_until", "previous_secret_until"]}),
        ("Origin", {"fields": ["id", "created_by", "created_at"]}),
    ]

    def has_remove_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("outbox.delete_webhook")

    @display(description="state", label={"on": "success", "failing": "warning", "off": "danger"})  # type: ignore[untyped-decorator]
    def state(self, webhook: Webhook) -> str:
        if not webhook.active:
            return "off"
        return "failing" if webhook.failing_since else "on"

    @display(description="events")  # type: ignore[untyped-decorator]
    def shown_types(self, webhook: Webhook) -> str:
        return ", ".join(webhook.event_types)

    @display(description="projects")  # type: ignore[untyped-decorator]
    def shown_projects(self, webhook: Webhook) -> str:
        return ", ".join(webhook.projects) or "all"

    @admin.action(description="Send a test event", permissions=["steer"])
    def ping_selected(self, request: HttpRequest, webhooks: QuerySet[Any]) -> None:
        self.each(request, webhooks, lambda each: ping_webhook(each, actor=actor_of(request)), "on their way")

    @admin.action(description="Switch on", permissions=["steer"])
    def switch_on_selected(self, request: HttpRequest, webhooks: QuerySet[Any]) -> None:
        self._switch(request, webhooks, True)

    @admin.action(description="Switch off", permissions=["steer"])
    def switch_off_selected(self, request: HttpRequest, webhooks: QuerySet[Any]) -> None:
        self._switch(request, webhooks, False)

    @admin.action(description="Delete with their log", permissions=["remove"])
    def delete_webhooks(self, request: HttpRequest, webhooks: QuerySet[Any]) -> None:
        self.each(request, webhooks, lambda each: delete_webhook(each, actor=actor_of(request)), "deleted")

    def _switch(self, request: HttpRequest, webhooks: QuerySet[Any], active: bool) -> None:
        self.each(
            request,
            webhooks,
            lambda each: change_webhook(each, actor=actor_of(request), active=active),
            f"switched {'on' if active else 'off'}",
        )


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(_Steered):
    list_display = ["event_type", "webhook", "shown_status", "sequence", "attempts", "next_attempt_at", "created_at"]
    list_filter = ["status", "event_type", "webhook", "created_at"]
    search_fields = ["=event_id", "error"]
    ordering = ["-id"]
    list_select_related = ["webhook"]
    actions = ["send_selected_again"]
    fieldsets = [
        (None, {"fields": ["webhook", "event_type", "event_id", "sequence", "shown_status", "error"]}),
        ("Times", {"fields": ["created_at", "next_attempt_at", "give_up_at", "settled_at"]}),
        ("Attempts", {"fields": ["shown_attempts"]}),
        ("Body", {"fields": ["shown_body"]}),
    ]

    @display(  # type: ignore[untyped-decorator]
        description="status",
        ordering="status",
        label={
            DeliveryStatus.PENDING: "info",
            DeliveryStatus.DELIVERED: "success",
            DeliveryStatus.FAILED: "danger",
        },
    )
    def shown_status(self, delivery: WebhookDelivery) -> str:
        return delivery.status

    @display(description="attempts")  # type: ignore[untyped-decorator]
    def shown_attempts(self, delivery: WebhookDelivery) -> SafeString:
        parts = ((_attempt_text(attempt),) for attempt in delivery.attempt_list.all())
        return format_html_join("", "<pre>{}</pre>", parts)

    @display(description="body")  # type: ignore[untyped-decorator]
    def shown_body(self, delivery: WebhookDelivery) -> SafeString:
        body = body_of(delivery.event_id)
        return format_html("<pre>{}</pre>", "The event is no longer kept." if body is None else body.decode())

    @admin.action(description="Send again", permissions=["steer"])
    def send_selected_again(self, request: HttpRequest, deliveries: QuerySet[Any]) -> None:
        found = deliveries.select_related("webhook")
        self.each(request, found, lambda each: redeliver(each, actor=actor_of(request)), "on their way again")


def _attempt_text(attempt: WebhookAttempt) -> str:
    """Return an attempt as a person reads it."""
    facts = {
        "number": attempt.number,
        "at": attempt.at.isoformat(),
        "duration_ms": attempt.duration_ms,
        "error": attempt.error,
        "request_headers": attempt.request_headers,
        "answer_status": attempt.answer_status,
        "answer_headers": attempt.answer_headers,
        "answer_body": attempt.answer_body,
    }
    return json.dumps(facts, indent=2, ensure_ascii=False)
