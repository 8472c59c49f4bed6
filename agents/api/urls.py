"""The addresses of the agents' API."""

from rest_framework.routers import SimpleRouter

from agents.api.views import AgentViewSet, PersonalityViewSet

router = SimpleRouter(use_regex_path=False)
router.register("personalities", PersonalityViewSet, basename="personality")
router.register("agents", AgentViewSet, basename="agent")

urlpatterns = router.urls
