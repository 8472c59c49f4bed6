"""What a program is about is kept beside what is measured of it, and never outlives it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from rest_framework.test import APIClient

from runners.models import Observation, Runner
from tests.runners.teller import STARTED, hand_over, report, starting
from tests.runners.teller import teller as teller

EXIT = {"t": 9.0, "kind": "exit", "code": 0, "signal": None, "reason": "exited"}
LIMIT = report(at=3.0, about="rate_limited", until=60.0, note="The five hour limit is reached.")


def seen(runner: Runner) -> Observation:
    return Observation.objects.get(runner=runner)


@pytest.mark.django_db
def test_the_last_thing_told_counts() -> None:
    runner = starting()
    hand_over(runner, STARTED, report(about="working"), report(at=5.0, about="needs_approval", note="Bash: rm x"))
    observation = seen(runner)
    assert (observation.activity, observation.activity_note) == ("needs_approval", "Bash: rm x")
    assert observation.activity_at == datetime.fromtimestamp(5.0, UTC)
    assert observation.activity_until is None


@pytest.mark.django_db
@pytest.mark.parametrize(("told", "left"), [(report(about="working"), ""), (LIMIT, "rate_limited")])
def test_a_process_that_has_ended_is_about_nothing_but_its_limit_stays_known(told: dict[str, Any], left: str) -> None:
    runner = starting()
    hand_over(runner, STARTED, told, EXIT)
    assert seen(runner).activity == left


@pytest.mark.django_db
def test_a_new_attempt_begins_without_the_limit_of_the_last() -> None:
    runner = starting()
    hand_over(runner, STARTED, LIMIT)
    hand_over(runner, STARTED, start=20)
    assert (seen(runner).activity, seen(runner).activity_until) == ("", None)


@pytest.mark.django_db
def test_the_api_tells_a_limit_and_its_end(admin_user: Any) -> None:
    runner = starting()
    hand_over(runner, STARTED, LIMIT)
    api = APIClient()
    api.force_authenticate(admin_user)
    told = api.get(f"/api/v1/runners/{runner.pk}/").json()["observation"]
    assert told["activity"] == "rate_limited"
    assert datetime.fromisoformat(told["activity_until"]) == datetime.fromtimestamp(60.0, UTC)
    assert told["activity_note"] == "The five hour limit is reached."
