"""Which budgets count a runner, and which runners a budget counts: the same relation, read both ways."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db.models import Q

from runners.states import BudgetScope

#: Scope to the key by which budgets of that scope know a runner.
Names = Mapping[str, str]
#: The column of a runner that a budget's scope_key is compared with.
RUNNER_COLUMNS = {
    BudgetScope.PROJECT: "project__name",
    BudgetScope.AGENT: "agent_name",
    BudgetScope.PERSONALITY: "personality_name",
    BudgetScope.RUNNER: "pk",
}


def names_for_budgets(*, project: str, agent: str, personality: str, runner_id: object = None) -> Names:
    """Return the keys by which budgets know a runner. An empty name is nobody's."""
    keys = {
        BudgetScope.PROJECT: project,
        BudgetScope.AGENT: agent,
        BudgetScope.PERSONALITY: personality,
        BudgetScope.RUNNER: str(runner_id or ""),
    }
    return {scope: key for scope, key in keys.items() if key}


def budgets_of(runners: Iterable[Names]) -> Q:
    """Return the condition on budgets that count any of the runners of these names."""
    keys: dict[str, set[str]] = {}
    for names in runners:
        for scope, key in names.items():
            keys.setdefault(scope, set()).add(key)
    condition = Q(scope=BudgetScope.GLOBAL)
    for scope, wanted in keys.items():
        condition |= Q(scope=scope, scope_key__in=sorted(wanted))
    return condition


def is_counted(names: Names, scope: str, key: str) -> bool:
    """Say whether a budget counts the runner of these names."""
    return scope == BudgetScope.GLOBAL or names.get(scope) == key


def in_scope(scope: str, key: str, *, prefix: str = "") -> Q:
    """Return the condition on runners that a budget counts; `prefix` leads to the runner: "runner__"."""
    if scope == BudgetScope.GLOBAL:
        return Q()
    return Q(**{f"{prefix}{RUNNER_COLUMNS[BudgetScope(scope)]}": UUID(key) if scope == BudgetScope.RUNNER else key})
