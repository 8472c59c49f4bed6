"""Refuse what a spent budget does not allow."""

from runners.backends.base import LaunchRequest
from runners.models import Budget, Project, Runner
from runners.services.standing import spent, standings
from runners.sql import hold_budgets


def check_budgets(project: Project, wanted: LaunchRequest | Runner) -> None:
    """Raise BudgetSpent if a budget that counts the runner is spent and does more than warn.

    Until the transaction ends, whoever acts on such a budget waits: of a launch and the moment a budget is spent,
    either the launch is refused or the runner is found and paused or stopped.
    """
    runner_id = wanted.pk if isinstance(wanted, Runner) else None
    counting = (
        Budget.objects.active()
        .holding()
        .counting(
            project=project.name, agent=wanted.agent_name, personality=wanted.personality_name, runner_id=runner_id
        )
    )
    ids = list(counting.values_list("pk", flat=True))
    if not ids:
        return
    hold_budgets(ids)
    for standing in spent(standings(counting)):
        raise standing.refusal()
