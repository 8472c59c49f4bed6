"""Which budgets count a runner, and which runners a budget counts: the same relation, read both ways."""

from uuid import UUID

from django.db.models import Q

from runners.states import BudgetScope

#: The column of a runner that a budget's scope_key is compared with.
RUNNER_COLUMNS = {
    BudgetScope.PROJECT: "project__name",
    BudgetScope.AGENT: "agent_name",
    BudgetScope.PERSONALITY: "personality_name",
    BudgetScope.RUNNER: "pk",
}


def budgets_of(*, project: str, agent: str, personality: str, runner_id: object = None) -> Q:
    """Return the condition on budgets that count a runner of these names. An empty name is nobody's."""
    keys = {
        BudgetScope.PROJECT: project,
        BudgetScope.AGENT: agent,
        BudgetScope.PERSONALITY: personality,
        BudgetScope.RUNNER: str(runner_id or ""),
    }
    condition = Q(scope=BudgetScope.GLOBAL)
    for scope, key in keys.items():
        if key:
            condition |= Q(scope=scope, scope_key=key)
    return condition


def in_scope(scope: str, key: str, *, prefix: str = "") -> Q:
    """Return the condition on runners that a budget counts; `prefix` leads to the runner: "runner__"."""
    if scope == BudgetScope.GLOBAL:
        return Q()
    return Q(**{f"{prefix}{RUNNER_COLUMNS[BudgetScope(scope)]}": UUID(key) if scope == BudgetScope.RUNNER else key})
