"""What /metrics tells of the fleet."""

import pytest
from django.test import Client

from runners.models import Session
from runners.states import RunnerStatus
from tests.runners.factories import make_runner

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
