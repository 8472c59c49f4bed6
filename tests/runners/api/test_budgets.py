"""Budgets over the API."""

from decimal import Decimal
from typing import Any

import pytest

from outbox.models import AuditEntry
from runners.models import Budget
from tests.callers import client_of, make_user, operator, reader
from tests.runners.budgets import make_budget, use
from tests.runners.factories import make_project
from tests.runners.teller import starting
from tests.runners.teller import teller as teller

pytestmark = pytest.mark.django_db
BUDGETS = "/api/v1/budgets/"
BODY = {"name": "all", "scope": "global", "period": "daily", "unit": "tokens", "limit": "100", "action": "pause"}


def test_a_budget_is_made_seen_changed_raised_and_deleted() -> None:
    client = operator()
    runner = starting()
    use(runner, 50)
    made = client.post(BUDGETS, {**BODY, "time_zone": "Europe/Berlin"}, format="json")
    assert made.status_code == 201, made.content
    assert (made.json()["used"], made.json()["percent"], made.json()["is_spent"]) == ("50.00000000", "50.00", False)
    address = f"{BUDGETS}{made.json()['id']}/"
    changed = client.patch(address, {"limit": "40"}, format="json").json()
    assert (changed["limit_now"], changed["is_spent"]) == ("40.00000000", True)
    raised = client.post(f"{address}raise/", {"amount": "60", "reason": "release day"}, format="json")
    assert raised.status_code == 201, raised.content
    assert (raised.json()["limit"], raised.json()["limit_now"]) == ("40.00000000", "100.00000000")
    assert raised.json()["forecast"]["per_hour"] == "50.00000000"
    (each,) = client.get(f"{address}raises/").json()["results"]
    assert (each["actor"], each["reason"]) == ("user:operator", "release day")
    assert client.get(address).json()["name"] == "all"
    assert client.delete(address).status_code == 204
    assert not Budget.objects.exists()


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"limit": "0"}, 400, "limit"),
        ({"limit": "many"}, 400, "limit"),
        ({"time_zone": "Moon/Base"}, 422, "time_zone"),
        ({"scope": "project", "scope_key": "nowhere"}, 422, "scope_key"),
        ({"period": "yearly"}, 400, "period"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_by_field(change: dict[str, Any], status: int, field: str) -> None:
    answer = operator().post(BUDGETS, {**BODY, **change}, format="json")
    assert (answer.status_code, list(answer.json()["errors"])) == (status, [field])


def test_what_it_counts_cannot_be_changed() -> None:
    answer = operator().patch(f"{BUDGETS}{make_budget().pk}/", {"period": "weekly"}, format="json")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["period"])


def test_budgets_are_listed_by_scope_with_the_same_queries_for_many(django_assert_num_queries: Any) -> None:
    project, client = make_project(), reader()
    for _ in range(5):
        make_budget(scope="project", scope_key=project.name)
    make_budget()
    # Session and user of the caller, the count, the page, the budgets with their raises, their periods.
    with django_assert_num_queries(6):
        assert client.get(BUDGETS, {"scope": "project"}).json()["count"] == 5


def test_a_raise_has_a_permission_of_its_own() -> None:
    budget = make_budget()
    address, body = f"{BUDGETS}{budget.pk}/raise/", {"amount": "1", "reason": "why"}
    assert reader().post(address, body, format="json").status_code == 403
    client = client_of(make_user("raiser", "runners.raise_budget"))
    assert client.post(address, body, format="json").status_code == 201
    assert client.patch(f"{BUDGETS}{budget.pk}/", {"limit": "5"}, format="json").status_code == 403


def test_a_refused_launch_tells_the_figures() -> None:
    project = make_project()
    make_budget(10, scope="project", scope_key=project.name, name="shop")
    use(starting(project=project), 12)
    body = {"project": project.name, "backend": "command", "argv": ["true"]}
    answer = operator().post("/api/v1/runners/", body, format="json")
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (409, "/problems/budget_spent")
    assert (problem["name"], Decimal(problem["used"]), Decimal(problem["limit"])) == ("shop", Decimal(12), Decimal(10))
    assert problem["period_end"]


def test_staff_make_and_change_a_budget_in_the_admin(client: Any, admin_user: Any) -> None:
    client.force_login(admin_user)
    typed = {
        "name": "all", "active": "on", "scope": "global", "scope_key": "", "period": "daily", "time_zone": "UTC",
        "limit": "100", "unit": "tokens", "action": "stop",
        **{f"{rows}-{count}": "0" for rows in ("periods", "raises") for count in ("TOTAL_FORMS", "INITIAL_FORMS")},
    }  # fmt: skip
    answer = client.post("/admin/runners/budget/add/", typed)
    assert answer.status_code == 302, answer.context["errors"]
    budget = Budget.objects.get()
    use(starting(), 30)
    assert "30 of 100 tokens" in client.get("/admin/runners/budget/").content.decode()
    answer = client.post(f"/admin/runners/budget/{budget.pk}/change/", {**typed, "limit": "50", "period": "weekly"})
    assert answer.status_code == 302, answer.context["errors"]
    budget.refresh_from_db()
    assert (budget.limit, budget.period) == (Decimal(50), "daily")
    acts = AuditEntry.objects.filter(target_type="budget").order_by("pk").values_list("action", flat=True)
    assert list(acts) == ["budget.create", "budget.change"]
