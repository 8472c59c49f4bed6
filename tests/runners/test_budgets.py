"""Budgets: counted with the ledger, told of once, raised, changed and begun anew."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from outbox.models import AuditEntry, Entry
from runners.exceptions import InvalidRequest
from runners.models import Attempt, Budget, BudgetPeriod
from runners.services.budgets import change_budget, raise_budget
from runners.services.enforcement import watch_budgets
from runners.services.ingest import ingest
from runners.services.prices import reprice_unknown
from runners.services.standing import standing_of
from runners.services.telemetry import Batch
from runners.states import BudgetScope, RunnerStatus
from tests.runners.budgets import clock_at, events, make_budget, now, use
from tests.runners.teller import hand_over, report, starting
from tests.runners.teller import teller as teller
from tests.runners.test_prices import make_price

db = pytest.mark.django_db
S = RunnerStatus


@db
@pytest.mark.parametrize("scope", list(BudgetScope))
def test_a_budget_counts_its_scope_and_nothing_else(scope: BudgetScope) -> None:
    inside = starting(agent_name="ada", personality_name="senior")
    outside = starting(agent_name="bob", personality_name="cadet")
    keys = {"global": "", "project": inside.project.name, "agent": "ada", "personality": "senior"}
    budget = make_budget(scope=scope, scope_key=keys.get(scope, str(inside.pk)))
    use(inside, 30)
    use(outside, 7)
    assert standing_of(budget).used == (37 if scope == BudgetScope.GLOBAL else 30)


@db
def test_a_runner_without_an_agent_is_in_no_agents_budget() -> None:
    budget = make_budget(scope="agent", scope_key="ada")
    use(starting(), 30)
    assert standing_of(budget).used == 0


@db
def test_what_was_used_before_the_budget_was_made_counts() -> None:
    runner = starting()
    use(runner, 30, model="x")
    use(runner, 5, cost="0.5")
    standing = standing_of(make_budget())
    assert (standing.used_tokens, standing.used_usd, standing.unknown_tokens) == (35, Decimal("0.5"), 30)


@db
def test_75_90_and_100_percent_are_told_once_each() -> None:
    make_budget(action="warn")
    runner = starting()
    for tokens in (74, 1, 1, 13, 1, 5, 10, 10):
        use(runner, tokens)
    assert events() == [("budget.warning", 75), ("budget.warning", 90), ("budget.spent", None)]


@db
def test_a_jump_past_all_thresholds_tells_each_once_and_the_event_has_the_figures() -> None:
    budget = make_budget("1.50", unit="usd", name="All of it")
    use(starting(), 10, cost="2.25")
    assert events() == [("budget.warning", 75), ("budget.warning", 90), ("budget.spent", None)]
    spent = Entry.objects.get(type="budget.spent")
    assert (spent.routing_key, spent.aggregate) == ("budget.spent.global", f"budget:{budget.pk}")
    alerts = Entry.objects.filter(type="system.alert", aggregate=spent.aggregate).order_by("id")
    assert [(each.data["severity"], each.data["title"]) for each in alerts] == [
        ("warning", "Budget All of it is at 75 %"),
        ("warning", "Budget All of it is at 90 %"),
        ("critical", "Budget All of it is spent"),
    ]
    assert (spent.data["name"], spent.data["used"], spent.data["limit"]) == ("All of it", "2.25", "1.5")


@db
def test_usage_falls_into_the_period_of_its_own_time_to_the_microsecond() -> None:
    budget = make_budget(period="daily", time_zone="Europe/Berlin", action="warn")
    runner = starting()
    midnight = datetime(2026, 3, 29, 22, tzinfo=UTC)  # the end of a day of 23 hours
    tick = timedelta(microseconds=1)
    start = datetime(2026, 3, 28, 23, tzinfo=UTC)
    for at, tokens in ((start - tick, 1), (start, 10), (midnight - tick, 100), (midnight, 1000)):
        use(runner, tokens, at=at.timestamp())
    used = {row.starts_at: row.used_tokens for row in BudgetPeriod.objects.filter(budget=budget)}
    assert (used[start], used[midnight]) == (110, 1000)


@db
def test_usage_of_a_period_that_is_over_is_counted_there_and_stops_nobody_now() -> None:
    budget = make_budget(10)
    use(starting(), 12, at=now() - 3 * 86_400)
    assert standing_of(budget).used == 0
    assert events() == [("budget.spent", None)]
    assert not Entry.objects.filter(type="runners.tasks.enforce_budget").exists()


@db
def test_a_raise_holds_until_its_time_is_told_audited_and_warns_anew() -> None:
    start = datetime(2026, 5, 1, 12, tzinfo=UTC)
    with clock_at(start):
        budget = make_budget(100, action="stop")
        runner = starting()
        use(runner, 100)
        until = start + timedelta(hours=2)
        raise_budget(budget, Decimal(100), reason="release day", actor="user:ada", until=until)
        standing = standing_of(budget)
        assert (standing.limit, standing.is_spent, standing.alerted) == (Decimal(200), False, 0)
        use(runner, 80)
    assert events()[3:] == [("budget.raised", None), ("budget.warning", 75), ("budget.warning", 90)]
    act = AuditEntry.objects.get(action="budget.raise")
    assert (act.actor, act.reason, act.target_name) == ("user:ada", "release day", budget.name)
    with clock_at(until):
        assert standing_of(budget).is_spent
        watch_budgets()
        watch_budgets()
    assert events()[6:] == [("budget.spent", None)]


@db
def test_without_a_time_a_raise_holds_to_the_end_of_the_period() -> None:
    with clock_at(datetime(2026, 5, 1, 12, tzinfo=UTC)):
        budget = make_budget(time_zone="Asia/Tokyo")
        made = raise_budget(budget, Decimal(1), reason="a little", actor="user:ada")
    assert made.until == datetime(2026, 5, 1, 15, tzinfo=UTC)


@db
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"amount": Decimal(0)}, "amount"),
        ({"reason": " "}, "reason"),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, "until"),
    ],
)
def test_a_raise_that_makes_no_sense_is_refused(wrong: dict[str, Any], field: str) -> None:
    asked: dict[str, Any] = {"amount": Decimal(1), "reason": "why", **wrong}
    with pytest.raises(InvalidRequest) as refusal:
        raise_budget(make_budget(), asked.pop("amount"), actor="user:ada", **asked)
    assert refusal.value.facts["field"] == field


@db
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"limit": Decimal(0)}, "limit"),
        ({"time_zone": "Moon/Base"}, "time_zone"),
        ({"scope": "project", "scope_key": "nowhere"}, "scope_key"),
        ({"scope": "runner", "scope_key": "x"}, "scope_key"),
        ({"scope": "agent", "scope_key": ""}, None),
        ({"scope": "global", "scope_key": "x"}, None),
        ({"period": "yearly"}, "period"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(wrong: dict[str, Any], field: str | None) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        make_budget(**wrong)
    assert refusal.value.facts["field"] == field
    assert not Budget.objects.exists()


@db
def test_what_a_budget_counts_stays_and_its_limit_changes() -> None:
    budget = make_budget(100, action="warn")
    use(starting(), 80)
    with pytest.raises(InvalidRequest, match="stays as it was made"):
        change_budget(budget, {"period": "weekly"}, actor="user:ada")
    change_budget(budget, {"limit": Decimal(1000)}, actor="user:ada")
    assert standing_of(budget).alerted == 0
    change_budget(budget, {"limit": Decimal(80), "action": "stop"}, actor="user:ada")
    watch_budgets()
    assert events()[1:] == [("budget.warning", 75), ("budget.warning", 90), ("budget.spent", None)]


@db
def test_a_budget_that_was_off_counts_what_was_used_meanwhile() -> None:
    budget = make_budget()
    runner = starting()
    change_budget(budget, {"active": False}, actor="user:ada")
    use(runner, 30)
    assert standing_of(budget).used == 0
    change_budget(budget, {"active": True}, actor="user:ada")
    use(runner, 1)
    assert standing_of(budget).used == 31


@db
def test_a_cost_not_known_is_no_zero_in_a_budget_of_dollars() -> None:
    """It is not counted, shown apart, and counted as soon as there is a price."""
    budget = make_budget("5", unit="usd", name="month")
    runner = starting()
    use(runner, 1, cost="1")
    use(runner, 7, model="m")
    standing = standing_of(budget)
    assert (standing.used, standing.unknown_tokens, standing.is_whole) == (Decimal(1), 7, False)
    assert standing.figures == "at least $1.00 of $5.00"
    make_price()
    reprice_unknown()
    standing = standing_of(budget)
    assert (standing.used, standing.unknown_tokens, standing.is_spent) == (Decimal(8), 0, True)
    assert events()[-1] == ("budget.spent", None)


@db
def test_what_a_fenced_attempt_used_meanwhile_counts_when_its_node_is_back() -> None:
    budget = make_budget()
    runner = starting(generation=2)
    Attempt.objects.create(runner=runner, generation=1, session=runner.session, status=S.FAILED)
    for _ in range(2):
        ingest(Batch(runner.pk, 1, 0, 10, [report(tokens=7, key="late", at=now())]))
    assert standing_of(budget).used == 7


@db
def test_budgets_are_looked_up_once_for_a_batch(django_assert_max_num_queries: Any) -> None:
    for _ in range(3):
        make_budget(10_000_000, action="warn")
    runner = starting()
    many = [report(tokens=1, key=f"u{number}", cost="0.1", at=now()) for number in range(500)]
    with django_assert_max_num_queries(20):
        hand_over(runner, *many)
    assert {standing_of(budget).used_tokens for budget in Budget.objects.all()} == {500}
