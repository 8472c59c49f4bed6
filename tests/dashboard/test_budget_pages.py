"""Budgets and usage on the dashboard."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from dashboard.chart import day_chart
from runners.models import Budget, BudgetRaise
from runners.services.budgets import raise_budget
from runners.services.usage_summary import Sums
from tests.dashboard.conftest import signed_in
from tests.runners.budgets import make_budget, use
from tests.runners.factories import make_project
from tests.runners.teller import starting
from tests.runners.teller import teller as teller

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("address", ["/usage/", "/budgets/", "/new-budget/"])
def test_a_page_asks_for_a_sign_in_and_says_what_to_do_when_empty(client: Client, address: str) -> None:
    assert Client().get(address)["Location"] == f"/login/?next={address}"
    assert client.get(address).status_code == 200


def test_a_budget_is_made_as_typed(client: Client) -> None:
    project = make_project()
    page = client.get(f"/new-budget/?scope=project&scope_key={project.name}").content.decode()
    assert f'value="{project.name}"' in page
    typed = {
        "name": "shop", "scope": "project", "scope_key": project.name, "limit": "2.50", "unit": "usd",
        "period": "weekly", "time_zone": "Europe/Berlin", "action": "pause",
    }  # fmt: skip
    assert client.post("/new-budget/", typed)["Location"] == "/budgets/"
    budget = Budget.objects.get()
    assert (budget.limit, budget.period, budget.time_zone) == (Decimal("2.5"), "weekly", "Europe/Berlin")
    refused = client.post("/new-budget/", {**typed, "name": "other", "scope_key": "nowhere"})
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["scope_key"])


def test_a_card_tells_figures_forecast_and_what_is_not_known(client: Client) -> None:
    make_budget("4", unit="usd", name="month", period="monthly")
    runner = starting()
    use(runner, 10, cost="3.70")
    use(runner, 7_000)
    (row,) = client.get("/budgets/").context["budgets"]
    assert (row["used"], row["limit"], row["percent"], row["level"]) == ("≥ $3.70", "$4.00", 92, 90)
    assert row["unknown"] == "7.0k"
    assert "an hour lately" in row["forecast"]
    page = client.get("/budgets/").content.decode()
    assert "the cost of 7.0k tokens is not known and not counted" in page


def test_the_overview_shows_alarms_and_the_project_its_budgets(client: Client) -> None:
    project = make_project()
    make_budget(10, scope="project", scope_key=project.name, name="shop")
    make_budget(1000, name="roomy")
    assert client.get("/").context["alarms"] == []
    use(starting(project=project), 12)
    assert [(row["name"], row["level"]) for row in client.get("/").context["alarms"]] == [("shop", 100)]
    assert "is spent: 12 tokens of 10 tokens" in client.get("/").content.decode()
    shown = client.get(f"/projects/{project.name}/").context["budgets"]
    assert {row["name"] for row in shown} == {"shop", "roomy"}


def test_a_budget_is_raised_with_a_reason_for_some_hours(client: Client) -> None:
    budget = make_budget(10)
    page = client.post(
        f"/budgets/{budget.pk}/raise/", {"amount": "5", "reason": "release day", "hours": "2"}, follow=True
    )
    assert "is raised" in page.content.decode()
    made = BudgetRaise.objects.get()
    assert (made.amount, made.reason, made.actor) == (Decimal(5), "release day", "user:ada")
    assert timedelta(hours=1.9) < made.until - timezone.now() <= timedelta(hours=2)
    assert "Raised by user:ada" in page.content.decode()
    refused = client.post(f"/budgets/{budget.pk}/raise/", {"amount": "-1", "reason": ""}, follow=True)
    assert "was not raised" in refused.content.decode()
    assert BudgetRaise.objects.count() == 1


def test_a_budget_is_switched_off_and_on(client: Client) -> None:
    budget = make_budget(10)
    for verb, active in (("off", False), ("on", True)):
        client.post(f"/budgets/{budget.pk}/switch/{verb}/")
        budget.refresh_from_db()
        assert budget.active is active
    assert client.post(f"/budgets/{budget.pk}/switch/sideways/").status_code == 404


def test_a_reader_sees_budgets_and_may_do_nothing(reader: User) -> None:
    budget, client = make_budget(10), signed_in(reader)
    page = client.get("/budgets/").content.decode()
    assert budget.name in page
    assert "Raise" not in page
    for address in (f"/budgets/{budget.pk}/raise/", f"/budgets/{budget.pk}/switch/off/", "/new-budget/"):
        assert client.post(address).status_code == 403, address


def test_a_raise_that_is_over_is_not_shown(client: Client) -> None:
    budget = make_budget(10)
    raise_budget(budget, Decimal(5), reason="long ago", actor="user:ada")
    BudgetRaise.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert "long ago" not in client.get("/budgets/").content.decode()


def test_usage_is_shown_by_day_project_model_and_agent_and_marks_what_is_at_least(client: Client) -> None:
    runner = starting(agent_name="ada")
    use(runner, 1_000, model="m", cost="1.50")
    use(runner, 500, model="x")
    response = client.get("/usage/")
    assert (response.context["total"]["cost"], response.context["total"]["unknown"]) == ("≥ $1.50", "500")
    by = {table["by"]: {row["key"]: row["cost"] for row in table["rows"]} for table in response.context["tables"]}
    assert by == {
        "project": {runner.project.name: "≥ $1.50"},
        "model": {"m": "$1.50", "x": "unknown"},
        "agent": {"ada": "≥ $1.50"},
    }
    page = response.content.decode()
    assert page.count("<rect") == 30
    assert "sums with ≥ are at least that much" in page
    assert client.get("/usage/?days=7&project=nowhere").context["total"]["tokens"] == "unknown"
    assert client.get("/usage/?days=7&show=tokens").content.decode().count("<rect") == 7


def test_without_any_known_cost_the_chart_is_of_tokens_and_no_cost_is_zero(client: Client) -> None:
    use(starting(), 500, model="x")
    response = client.get("/usage/")
    assert response.context["in_dollars"] is False
    assert "$0" not in response.content.decode()


def test_bars_are_as_high_as_their_days_and_partial_ones_are_marked() -> None:
    last = timezone.now().date()
    days = [
        Sums(str(last - timedelta(days=1)), 0, 10, 0, 0, Decimal(1), 0, 1),
        Sums(str(last), 0, 10, 0, 0, Decimal("0.5"), 3, 1),
    ]
    chart = day_chart(days, last - timedelta(days=2), last, in_dollars=True)
    assert [round(bar.height / chart.height, 2) for bar in chart.bars] == [0, 1, 0.5]
    assert [bar.partial for bar in chart.bars] == [False, False, True]
    assert chart.bars[-1].label.endswith("10 tokens, ≥ $0.5000")
