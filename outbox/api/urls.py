"""The addresses of the outbox's API."""

from rest_framework.routers import SimpleRouter

from outbox.api.views import EventTypeViewSet, EventViewSet

router = SimpleRouter(use_regex_path=False)
router.register("events", EventViewSet, basename="event")
router.register("event-types", EventTypeViewSet, basename="event-type")

urlpatterns = router.urls
