"""Budgets: counted with the ledger, told of once, refused, paused, stopped, raised and begun anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from outbox.models import AuditEntry, Entry
from runners.backends.base import LaunchRequest
from runners.exceptions import BudgetSpent, InvalidRequest
from runners.models import Attempt, Budget, BudgetPeriod, ModelPrice, Runner, UsageEntry
from runners.models.usage import UNPRICED
from runners.scopes import in_scope
from runners.services import launch_runner, restart_runner, resume_runner
from runners.services.budgets import change_budget, create_budget, delete_budget, raise_budget
from runners.services.enforcement import GOES_ON, enforce_budget, watch_budgets
from runners.services.ingest import ingest
from runners.services.prices import reprice_unknown
from runners.services.queue import start_queued
from runners.services.standing import standing_of
from runners.services.telemetry import Batch
from runners.services.usage_summary import total_of
from runners.states import BudgetScope, RunnerStatus
from tests.runners.factories import make_node, make_project, make_runner
from tests.runners.teller import STARTED, hand_over, report, starting
from tests.runners.teller import teller as teller
from tests.runners.test_prices import make_price

db = pytest.mark.django_db
S = RunnerStatus
TRUE = LaunchRequest(backend="command", argv=["true"])


def make_budget(limit: int | str = 100, **values: Any) -> Budget:
    """Make a global daily budget in tokens that stops."""
    defaults = {
        "name": f"b{Budget.objects.count()}",
        "scope": "global",
        "period": "daily",
        "unit": "tokens",
        "action": "stop",
    }
    return create_budget({**defaults, "limit": Decimal(limit), **values}, actor="user:ada")


def now() -> float:
    return timezone.now().timestamp()


def use(runner: Runner, tokens: int, key: str = "", **more: Any) -> None:
    """Have the runner tell that it used tokens, just now."""
    offset = runner.observation.telemetry_offset
    hand_over(runner, report(tokens=tokens, key=key or f"u{offset}", at=more.pop("at", now()), **more), start=offset)
    runner.observation.refresh_from_db()


def events(*types: str) -> list[tuple[str, Any]]:
    found = Entry.objects.events().filter(type__startswith="budget.").order_by("id")
    return [(entry.type, entry.data.get("percent")) for entry in found]


def tasks(runner: Runner) -> list[str]:
    found = Entry.objects.filter(aggregate=runner.aggregate, type__startswith="runners.tasks.").order_by("id")
    return [entry.type.removeprefix("runners.tasks.") for entry in found]


@contextmanager
def clock_at(at: datetime) -> Iterator[None]:
    """Have it be `at` for Django."""
    with mock.patch("django.utils.timezone.now", return_value=at):
        yield


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
def test_a_launch_and_a_restart_are_refused_when_spent_with_the_figures() -> None:
    make_node()
    project = make_project()
    ended = make_runner(project=project, status=S.TERMINATED, ended_at=timezone.now())
    make_budget(10, scope="project", scope_key=project.name, name="shop")
    runner = starting(project=project)
    launch_runner(project.name, TRUE, actor="user:ada")
    use(runner, 12)
    with pytest.raises(BudgetSpent, match=r"Budget shop is spent: 12 of 10 tokens; it begins anew on ") as refusal:
        launch_runner(project.name, TRUE, actor="user:ada")
    assert (refusal.value.facts["used"], refusal.value.facts["limit"]) == ("12", "10")
    with pytest.raises(BudgetSpent):
        restart_runner(ended.pk, actor="user:ada")
    launch_runner(make_project().name, TRUE, actor="user:ada")


@db
def test_a_budget_that_only_warns_refuses_nothing() -> None:
    make_node()
    make_budget(10, action="warn")
    use(starting(), 12)
    launch_runner(make_project().name, TRUE, actor="user:ada")


@db
def test_a_launch_that_may_wait_waits_shows_why_and_starts_when_the_budget_is_raised() -> None:
    make_node()
    project, other = make_project(), make_project()
    budget = make_budget(10, scope="project", scope_key=project.name, name="shop")
    use(starting(project=project), 12)
    request = LaunchRequest(backend="command", argv=["true"], on_limit="wait")
    waiting = launch_runner(project.name, request, actor="user:ada")
    assert waiting.status == S.QUEUED
    assert waiting.reason.startswith("waits: Budget shop is spent: 12 of 10 tokens")
    Runner.objects.filter(pk=waiting.pk).update(reason="")
    launch_runner(other.name, request, actor="user:ada")
    assert start_queued() == 0
    watch_budgets()
    waiting.refresh_from_db()
    assert waiting.reason.startswith("waits: Budget shop is spent")
    raise_budget(budget, Decimal(10), reason="release day", actor="user:ada")
    watch_budgets()
    waiting.refresh_from_db()
    assert waiting.reason == ""
    assert start_queued() == 1


@db
def test_a_spent_budget_holds_up_no_queued_runner_of_another_scope() -> None:
    make_node()
    full, free = make_project(quota=0), make_project(quota=0)
    request = LaunchRequest(backend="command", argv=["true"], on_limit="wait")
    first, second = (launch_runner(each.name, request, actor="user:ada") for each in (full, free))
    for project in (full, free):
        project.quota.max_concurrent_runners = 5
        project.quota.save()
    make_budget(10, scope="project", scope_key=full.name)
    use(starting(project=full), 12)
    assert start_queued() == 1
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status) == (S.QUEUED, S.STARTING)


@db
def test_a_spent_budget_that_stops_ends_all_that_live_in_its_scope_and_says_why() -> None:
    budget = make_budget(10, scope="agent", scope_key="ada", name="Ada's")
    lives = [make_runner(agent_name="ada", status=status) for status in (S.STARTING, S.RUNNING, S.PAUSED, S.UNKNOWN)]
    other = make_runner(agent_name="bob")
    use(starting(agent_name="ada"), 10)
    assert Entry.objects.filter(type="runners.tasks.enforce_budget", data={"args": [budget.pk]}).count() == 1
    assert enforce_budget(budget.pk) == 5
    for runner in lives:
        runner.refresh_from_db()
        assert (runner.status, tasks(runner)) == (S.STOPPING, ["stop_runner"])
        assert runner.reason.startswith("Budget Ada's is spent: 10 of 10 tokens")
    other.refresh_from_db()
    assert other.status == S.RUNNING
    assert enforce_budget(budget.pk) == 0


@db
def test_a_budget_that_is_not_spent_acts_on_nobody() -> None:
    budget = make_budget(10)
    runner = make_runner()
    use(starting(), 9)
    assert enforce_budget(budget.pk) == 0
    runner.refresh_from_db()
    assert runner.status == S.RUNNING


def pause_reported(runner: Runner) -> None:
    """Have the node report that the runner is paused, if it was asked to pause it."""
    assert tasks(runner)[-1] == "pause_runner"
    Runner.objects.filter(pk=runner.pk).update(backend="teller")
    offset = runner.observation.telemetry_offset
    hand_over(runner, {"t": now(), "kind": "paused"}, start=offset)
    runner.refresh_from_db()
    runner.observation.refresh_from_db()


@db
def test_a_spent_budget_that_pauses_lets_go_on_when_it_is_raised_but_never_a_persons_pause() -> None:
    budget = make_budget(10, action="pause", name="all")
    running, by_hand = make_runner(), make_runner(status=S.PAUSED)
    use(make_runner(backend="teller"), 10)
    assert enforce_budget(budget.pk) == 2
    assert enforce_budget(budget.pk) == 0
    pause_reported(running)
    assert running.status == S.PAUSED
    assert running.reason.startswith("Budget all is spent")
    with pytest.raises(BudgetSpent):
        resume_runner(running.pk, actor="user:ada")
    assert watch_budgets()["released"] == 0
    raise_budget(budget, Decimal(5), reason="release day", actor="user:ada")
    assert watch_budgets()["released"] == 2
    assert watch_budgets()["released"] == 0
    assert tasks(running) == ["pause_runner", "resume_runner"]
    assert tasks(by_hand) == []
    running.refresh_from_db()
    assert running.held_reason == GOES_ON
    hand_over(running, {"t": now(), "kind": "resumed"}, start=running.observation.telemetry_offset)
    running.refresh_from_db()
    assert (running.status, running.held_at, running.held_reason) == (S.RUNNING, None, "")


@db
def test_a_runner_that_comes_to_run_under_a_spent_budget_is_paused() -> None:
    budget = make_budget(10, action="pause")
    late = starting()
    use(make_runner(backend="teller"), 10)
    Entry.objects.all().delete()
    hand_over(late, STARTED)
    assert Entry.objects.filter(type="runners.tasks.enforce_budget").exists()
    enforce_budget(budget.pk)
    assert tasks(late) == ["pause_runner"]


@db
def test_of_two_budgets_that_hold_a_runner_both_must_allow_it_to_go_on() -> None:
    wide, narrow = make_budget(10, action="pause"), make_budget(10, action="pause", scope="agent", scope_key="ada")
    runner = make_runner(backend="teller", agent_name="ada")
    use(runner, 10)
    enforce_budget(narrow.pk)
    pause_reported(runner)
    raise_budget(narrow, Decimal(50), reason="go", actor="user:ada")
    assert watch_budgets()["released"] == 0
    raise_budget(wide, Decimal(50), reason="go", actor="user:ada")
    assert watch_budgets()["released"] == 1


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
def test_at_the_boundary_the_budget_begins_anew_and_whom_it_paused_goes_on() -> None:
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    with clock_at(noon):
        budget = make_budget(10, period="hourly", action="pause")
        runner = make_runner(backend="teller")
        use(runner, 10)
        enforce_budget(budget.pk)
        pause_reported(runner)
    with clock_at(noon + timedelta(minutes=59, seconds=59, microseconds=999_999)):
        assert watch_budgets()["released"] == 0
        with pytest.raises(BudgetSpent):
            launch_runner(runner.project.name, TRUE, actor="user:ada")
    with clock_at(noon + timedelta(hours=1)):
        assert watch_budgets()["released"] == 1
        assert standing_of(budget).used == 0
        launch_runner(runner.project.name, TRUE, actor="user:ada")


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
def test_whom_a_deleted_budget_held_goes_on() -> None:
    budget = make_budget(10, action="pause")
    runner = make_runner(backend="teller")
    use(runner, 10)
    enforce_budget(budget.pk)
    pause_reported(runner)
    delete_budget(budget, actor="user:ada")
    assert watch_budgets()["released"] == 1


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


def totals(budget: Budget) -> list[tuple[object, ...]]:
    columns = ("starts_at", "used_tokens", "used_usd", "unknown_tokens")
    # A period that was only opened has nothing.
    return [row for row in budget.periods.order_by("starts_at").values_list(*columns) if any(row[1:])]


def ledger_totals(budget: Budget) -> list[tuple[object, ...]]:
    """The same, counted from the ledger."""
    entries = UsageEntry.objects.filter(in_scope(budget.scope, budget.scope_key, prefix="runner__"))
    counted = []
    for period in budget.periods.order_by("starts_at"):
        own = entries.filter(at__gte=period.starts_at, at__lt=period.ends_at)
        sums = total_of(own)
        assert sums.unknown_tokens == sum(entry.total_tokens for entry in own.filter(UNPRICED))
        counted.append((period.starts_at, sums.total_tokens, sums.cost_usd or Decimal(0), sums.unknown_tokens))
    return [row for row in counted if any(row[1:])]


#: Moments around two boundaries of an hourly budget.
TIMES = st.sampled_from([3599.999, 3600.0, 5000.0, 7199.0, 7200.0, 9000.0])
STEPS = st.lists(
    st.one_of(
        st.builds(
            lambda k, n, m, at: report(tokens=n, model=m, stretch="s", key=f"u{k}", at=at),
            st.integers(0, 9), st.integers(0, 9), st.sampled_from(["m", "x"]), TIMES,
        ),
        st.builds(
            lambda k, c, at: report(tokens=0, cost=c, covers=["s"], all_models=True, key=f"t{k}", at=at),
            st.integers(0, 3), st.sampled_from(["0.5", "7"]), TIMES,
        ),
    ),
    max_size=12,
)  # fmt: skip


class PowerCut(Exception):
    """The process died before its commit."""


def crash_before_commit(runner: Runner, records: list[dict[str, Any]], start: int) -> None:
    """Ingest, and die just before the commit."""
    with mock.patch("runners.services.ingest.charge", side_effect=PowerCut), pytest.raises(PowerCut):
        hand_over(runner, *records, start=start)


@pytest.mark.django_db(transaction=True)
@settings(max_examples=40, deadline=None)
@given(
    records=STEPS,
    cuts=st.lists(st.integers(0, 12), max_size=4),
    repeats=st.integers(1, 2),
    crashes=st.sets(st.integers(0, 4)),
)
def test_any_split_repeat_or_crash_gives_the_same_ledger_and_the_same_budgets(
    records: list[dict[str, Any]], cuts: list[int], repeats: int, crashes: set[int]
) -> None:
    Budget.objects.all().delete()
    ModelPrice.objects.filter(pattern="late").delete()
    ModelPrice.objects.get_or_create(
        pattern="m", valid_from=datetime.fromtimestamp(0, UTC),
        defaults={"input_usd": 0, "output_usd": Decimal(1_000_000)},
    )  # fmt: skip
    # Names of their own: what earlier examples used in 1970 is none of these budgets'.
    whole, parts = (starting(agent_name=uuid4().hex) for _ in range(2))
    budgets = [make_budget(5, scope="agent", scope_key=runner.agent_name, period="hourly") for runner in (whole, parts)]
    shared = make_budget(5, period="monthly", scope="project", scope_key=parts.project.name, name="shared")
    if records:
        hand_over(whole, *records)
    edges = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    for number, (start, end) in enumerate(pairwise(edges)):
        if number in crashes:
            crash_before_commit(parts, records[start:end], 10 * start)
        for _ in range(repeats):
            hand_over(parts, *records[start:end], start=10 * start)
    columns = ("key", "output_tokens", "cost_usd", "source")
    assert list(whole.usage.order_by("id").values_list(*columns)) == list(
        parts.usage.order_by("id").values_list(*columns)
    )
    assert totals(budgets[0]) == totals(budgets[1])
    for budget in (*budgets, shared):
        assert totals(budget) == ledger_totals(budget)


@db
def test_budgets_are_looked_up_once_for_a_batch(django_assert_max_num_queries: Any) -> None:
    for _ in range(3):
        make_budget(10_000_000, action="warn")
    runner = starting()
    many = [report(tokens=1, key=f"u{number}", cost="0.1", at=now()) for number in range(500)]
    with django_assert_max_num_queries(20):
        hand_over(runner, *many)
    assert {standing_of(budget).used_tokens for budget in Budget.objects.all()} == {500}
