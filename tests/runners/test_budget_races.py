"""Budgets under two real connections: nothing is counted twice or lost, and no launch slips past a spent one."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

import pytest
from django.db import connections, transaction

from outbox.models import Entry
from runners.exceptions import BudgetSpent
from runners.models import Budget, Runner
from runners.services import launch_runner
from runners.services.enforcement import enforce_budget
from runners.services.prices import reprice_unknown
from runners.services.standing import standing_of
from runners.states import RunnerStatus
from tests.locks import somebody_waits_for_a_lock
from tests.runners.budgets import TRUE, make_budget, now, use
from tests.runners.factories import make_node, make_project
from tests.runners.teller import hand_over, report, starting
from tests.runners.teller import teller as teller
from tests.runners.test_prices import make_price
from tests.stack import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
Result = TypeVar("Result")


def apart(threads: ThreadPoolExecutor, work: Callable[[], Result]) -> "Future[Result]":
    """Run `work` over a connection of its own."""

    def run() -> Result:
        try:
            return work()
        finally:
            connections.close_all()

    return threads.submit(run)


def test_of_many_ingests_at_once_every_token_counts_and_each_threshold_is_told_once() -> None:
    budgets = [make_budget(400, action="warn"), make_budget(300, action="warn")]
    runners = [starting() for _ in range(4)]
    gate = threading.Barrier(len(runners))

    def tell(runner: Runner) -> None:
        gate.wait(30)
        for number in range(25):
            hand_over(runner, report(tokens=4, key=f"u{number}", at=now()), start=10 * number)

    with ThreadPoolExecutor(len(runners)) as threads:
        for done in [apart(threads, lambda runner=runner: tell(runner)) for runner in runners]:  # type: ignore[misc]
            done.result(120)
    assert [standing_of(budget).used for budget in budgets] == [400, 400]
    for budget in budgets:
        told = Entry.objects.filter(aggregate=budget.aggregate, type__startswith="budget.").values_list(
            "type", flat=True
        )
        assert list(told.order_by("id")) == ["budget.warning", "budget.warning", "budget.spent"]


def test_a_launch_that_began_before_the_budget_was_spent_is_found_and_stopped() -> None:
    """It has looked and not committed when the budget is spent: the budget waits for it before it acts."""
    make_node()
    project = make_project()
    budget = make_budget(10)
    spender = starting(project=project)
    looked, go = threading.Event(), threading.Event()

    def launch() -> Runner:
        with transaction.atomic():
            runner = launch_runner(project.name, TRUE, actor="user:ada")
            looked.set()
            assert go.wait(60)
        return runner

    with ThreadPoolExecutor(2) as threads:
        launching = apart(threads, launch)
        assert looked.wait(60)
        use(spender, 10)
        acting = apart(threads, lambda: enforce_budget(budget.pk))
        wait_until(somebody_waits_for_a_lock, "the budget waits for the launch")
        go.set()
        runner = launching.result(60)
        assert acting.result(60) == 2
    runner.refresh_from_db()
    assert runner.status == RunnerStatus.STOPPING
    with pytest.raises(BudgetSpent):
        launch_runner(project.name, TRUE, actor="user:ada")


def test_a_budget_made_while_usage_is_entered_counts_it() -> None:
    runner = starting()
    entered, go = threading.Event(), threading.Event()

    def enter() -> None:
        with transaction.atomic():
            hand_over(runner, report(tokens=7, key="u1", at=now()))
            entered.set()
            assert go.wait(60)

    with ThreadPoolExecutor(2) as threads:
        entering = apart(threads, enter)
        assert entered.wait(60)
        making = apart(threads, make_budget)
        wait_until(somebody_waits_for_a_lock, "the new budget waits for the usage")
        go.set()
        entering.result(60)
        making.result(60)
    assert standing_of(Budget.objects.get()).used == 7


def test_a_price_added_while_usage_is_entered_prices_it() -> None:
    runner = starting()
    entered, go = threading.Event(), threading.Event()
    budget = make_budget(unit="usd", action="warn")

    def enter() -> None:
        with transaction.atomic():
            hand_over(runner, report(tokens=7, model="m", key="u1", at=now()))
            entered.set()
            assert go.wait(60)

    with ThreadPoolExecutor(2) as threads:
        entering = apart(threads, enter)
        assert entered.wait(60)
        adding = apart(threads, lambda: make_price(valid_from=datetime(2020, 1, 1, tzinfo=UTC)))
        wait_until(somebody_waits_for_a_lock, "the price waits for the usage")
        go.set()
        entering.result(60)
        adding.result(60)
    assert reprice_unknown() == 1
    assert standing_of(budget).used == Decimal(7)
