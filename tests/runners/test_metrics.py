"""What /metrics tells of the fleet."""

import pytest
from django.test import Client

from runners.models import Session
from runners.states import RunnerStatus
from tests.runners.budgets import make_budget, use
from tests.runners.factories import make_runner
from tests.runners.teller import starting
from tests.runners.teller import teller as teller

pytestmark = pytest.mark.django_db


def test_the_fleet_is_told_by_status_project_node_and_tokens(client: Client) -> None:
    runner = make_runner(status=RunnerStatus.RUNNING)
    Session.objects.filter(runners=runner).update(output_tokens=7)
    page = client.get("/metrics").content.decode()
    assert 'stratavore_runners_total{status="running"} 1.0' in page
    assert 'stratavore_runners_total{status="failed"} 0.0' in page
    assert f'stratavore_runners_by_project{{project="{runner.project.name}"}} 1.0' in page
    assert 'stratavore_nodes{status="online"} 1.0' in page
    assert "stratavore_sessions_total 1.0" in page
    assert 'stratavore_tokens_used_total{kind="output"} 7.0' in page
    assert "stratavore_outbox_lag_seconds" in page


def test_budgets_are_told_with_what_is_used_their_limit_and_what_is_not_known(client: Client) -> None:
    make_budget("4", unit="usd", name="month")
    use(starting(), 7)
    page = client.get("/metrics").content.decode()
    labels = 'budget="month",scope="global",scope_key="",unit="usd"'
    assert f"stratavore_budget_used{{{labels}}} 0.0" in page
    assert f"stratavore_budget_limit{{{labels}}} 4.0" in page
    assert f"stratavore_budget_unknown_tokens{{{labels}}} 7.0" in page
