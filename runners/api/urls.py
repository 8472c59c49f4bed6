"""The addresses of the runners' API."""

from rest_framework.routers import SimpleRouter

from runners.api.runner_views import RunnerViewSet
from runners.api.session_views import SessionViewSet
from runners.api.views import NodeViewSet, ProjectViewSet, UsageViewSet

router = SimpleRouter(use_regex_path=False)
router.register("projects", ProjectViewSet, basename="project")
router.register("runners", RunnerViewSet, basename="runner")
router.register("sessions", SessionViewSet, basename="session")
router.register("nodes", NodeViewSet, basename="node")
router.register("usage", UsageViewSet, basename="usage")

urlpatterns = router.urls
