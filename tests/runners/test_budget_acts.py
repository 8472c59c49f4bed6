"""What a spent budget does: it refuses, makes wait, pauses and stops, and lets go on again."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from outbox.models import Entry
from runners.backends.base import LaunchRequest
from runners.exceptions import BudgetSpent
from runners.models import Runner
from runners.services import launch_runner, restart_runner, resume_runner
from runners.services.budgets import delete_budget, raise_budget
from runners.services.enforcement import GOES_ON, enforce_budget, watch_budgets
from runners.services.queue import start_queued
from runners.services.standing import standing_of
from runners.states import RunnerStatus
from tests.runners.budgets import TRUE, clock_at, make_budget, now, pause_reported, tasks, use
from tests.runners.factories import make_node, make_project, make_runner
from tests.runners.teller import STARTED, hand_over, starting
from tests.runners.teller import teller as teller

db = pytest.mark.django_db
S = RunnerStatus


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
def test_whom_a_deleted_budget_held_goes_on() -> None:
    budget = make_budget(10, action="pause")
    runner = make_runner(backend="teller")
    use(runner, 10)
    enforce_budget(budget.pk)
    pause_reported(runner)
    delete_budget(budget, actor="user:ada")
    assert watch_budgets()["released"] == 1
