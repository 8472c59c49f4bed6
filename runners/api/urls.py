"""The addresses of the runners' API."""

from rest_framework.routers import SimpleRouter

from runners.api.approval_views import ApprovalRuleViewSet, ApprovalTermsViewSet, ApprovalViewSet
from runners.api.budget_views import BudgetViewSet
from runners.api.limit_views import ProviderLimitViewSet
from runners.api.operation_views import OperationViewSet
from runners.api.price_views import PriceViewSet
from runners.api.reconciler_views import ReconcilerViewSet
from runners.api.runner_views import RunnerViewSet
from runners.api.search_views import SearchViewSet
from runners.api.session_views import SessionViewSet
from runners.api.usage_views import UsageViewSet
from runners.api.views import NodeViewSet, ProjectViewSet

router = SimpleRouter(use_regex_path=False)
router.register("projects", ProjectViewSet, basename="project")
router.register("runners", RunnerViewSet, basename="runner")
router.register("sessions", SessionViewSet, basename="session")
router.register("search", SearchViewSet, basename="search")
router.register("operations", OperationViewSet, basename="operation")
router.register("reconciler", ReconcilerViewSet, basename="reconciler")
router.register("nodes", NodeViewSet, basename="node")
router.register("approvals", ApprovalViewSet, basename="approval")
router.register("approval-rules", ApprovalRuleViewSet, basename="approval-rule")
router.register("approval-terms", ApprovalTermsViewSet, basename="approval-terms")
router.register("budgets", BudgetViewSet, basename="budget")
router.register("provider-limits", ProviderLimitViewSet, basename="provider-limit")
router.register("prices", PriceViewSet, basename="price")
router.register("usage", UsageViewSet, basename="usage")

urlpatterns = router.urls
