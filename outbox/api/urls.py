"""The addresses of the outbox's API."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from outbox.api.audit import AuditViewSet
from outbox.api.event_stream import EventStreamView
from outbox.api.notification_views import NotificationTargetViewSet, NotificationViewSet
from outbox.api.views import EventTypeViewSet, EventViewSet
from outbox.api.webhook_views import WebhookDeliveryViewSet, WebhookViewSet

router = SimpleRouter(use_regex_path=False)
router.register("events", EventViewSet, basename="event")
router.register("notification-targets", NotificationTargetViewSet, basename="notification-target")
router.register("notifications", NotificationViewSet, basename="notification")
router.register("audit", AuditViewSet, basename="audit")
router.register("event-types", EventTypeViewSet, basename="event-type")
router.register("webhooks", WebhookViewSet, basename="webhook")
router.register("webhooks/<uuid:webhook_id>/deliveries", WebhookDeliveryViewSet, basename="webhook-delivery")

urlpatterns = [path("events/stream", EventStreamView.as_view(), name="event-stream"), *router.urls]
