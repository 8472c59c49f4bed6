"""The addresses of the agents' API."""

from rest_framework.routers import SimpleRouter

from agents.api.agent_views import AgentViewSet
from agents.api.dispatch_views import DispatchViewSet
from agents.api.job_views import AssignmentViewSet, JobViewSet
from agents.api.personality_views import PersonalityViewSet
from agents.api.time_views import TimeEntryViewSet, TodoViewSet
from agents.api.transfer_views import WorkforceViewSet

router = SimpleRouter(use_regex_path=False)
router.register("personalities", PersonalityViewSet, basename="personality")
router.register("agents", AgentViewSet, basename="agent")
router.register("jobs", JobViewSet, basename="job")
router.register("assignments", AssignmentViewSet, basename="assignment")
router.register("dispatch", DispatchViewSet, basename="dispatch")
router.register("todos", TodoViewSet, basename="todo")
router.register("time-entries", TimeEntryViewSet, basename="time-entry")
router.register("workforce", WorkforceViewSet, basename="workforce")

urlpatterns = router.urls
