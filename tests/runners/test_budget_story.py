"""Budgets with every process real: a program that tells what it uses is paused or stopped by its budget."""

from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from outbox.models import Entry
from runners.backends.base import LaunchRequest
from runners.exceptions import BudgetSpent
from runners.models import Project, Runner, Session, UsageEntry
from runners.services import launch_runner
from runners.services.budgets import raise_budget
from runners.services.standing import standing_of
from tests.runners.budgets import make_budget
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

#: Tells of 40 tokens at once, and of 40 more each time it is allowed to by a file; then leaves when told.
SPENDER = """
for i in 1 2 3; do
  while [ ! -e step$i ]; do sleep 0.05; done
  echo '{"type":"usage","id":"u'$i'","model":"m","output_tokens":40}' > "$STRATAVORE_REPORT"
done
while [ ! -e leave ]; do sleep 0.05; done
"""


def spend(project: Project, *steps: str) -> Runner:
    allow(project, *steps)
    request = LaunchRequest(backend="command", argv=["bash", "-c", SPENDER], agent_name="ada")
    return launch_runner(project.name, request, actor="user:ada")


def allow(project: Project, *steps: str) -> None:
    for step in steps:
        (Path(project.path) / step).touch()


def test_a_program_that_spends_its_budget_is_stopped_and_the_next_launch_refused(stack: Stack) -> None:
    project = make_project()
    make_budget(100, scope="agent", scope_key="ada", name="Ada's day")
    runner = stack.wait_for(spend(project, "step1", "step2"), "running")
    wait_until(lambda: UsageEntry.objects.filter(runner=runner).count() == 2, "two steps are in the ledger")
    allow(project, "step3")
    runner = stack.wait_for(runner, "terminated", "failed")
    assert runner.status == "terminated"
    assert runner.reason.startswith("Budget Ada's day is spent: 120 of 100 tokens")
    moves = list(runner.moves.values_list("to_status", "actor"))
    assert ("stopping", "system:budget") in moves
    told = Entry.objects.filter(type__startswith="budget.").order_by("id").values_list("type", flat=True)
    assert list(told) == ["budget.warning", "budget.warning", "budget.spent"]
    with pytest.raises(BudgetSpent):
        spend(project)


def test_a_program_that_is_paused_by_its_budget_goes_on_when_it_is_raised(stack: Stack) -> None:
    project = make_project()
    budget = make_budget(60, scope="project", scope_key=project.name, action="pause", name="shop")
    runner = stack.wait_for(spend(project, "step1", "step2"), "paused")
    assert runner.reason.startswith("Budget shop is spent: 80 of 60 tokens")
    assert psutil.Process(runner.pid).status() == psutil.STATUS_STOPPED
    allow(project, "step3", "leave")
    raise_budget(budget, Decimal(1000), reason="release day", actor="user:ada")
    runner = stack.wait_for(runner, "terminated", "failed")
    assert (runner.status, runner.reason) == ("terminated", "exited")
    assert standing_of(budget).used == 120


def test_a_run_that_is_killed_keeps_what_was_seen_and_its_cost_stays_unknown(stack: Stack) -> None:
    project = make_project()
    budget = make_budget(1, unit="usd", action="warn")
    runner = stack.wait_for(spend(project, "step1", "step2"), "running")
    wait_until(lambda: UsageEntry.objects.filter(runner=runner).count() == 2, "two steps are in the ledger")
    psutil.Process(runner.pid).kill()
    runner = stack.wait_for(runner, "failed", "terminated")
    session = Session.objects.get(runners=runner)
    assert (session.output_tokens, session.cost_usd, session.cost_source) == (80, None, "unknown")
    standing = standing_of(budget)
    assert (standing.used_tokens, standing.used, standing.unknown_tokens) == (80, Decimal(0), 80)
