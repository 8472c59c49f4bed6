"""Budgets for tests, and runners that use them up."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any
from unittest import mock

from django.utils import timezone

from outbox.models import Entry
from runners.backends.base import LaunchRequest
from runners.models import Budget, Runner
from runners.services.budgets import create_budget
from tests.runners.teller import hand_over, report

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


def pause_reported(runner: Runner) -> None:
    """Have the node report that the runner is paused, if it was asked to pause it."""
    assert tasks(runner)[-1] == "pause_runner"
    Runner.objects.filter(pk=runner.pk).update(backend="teller")
    offset = runner.observation.telemetry_offset
    hand_over(runner, {"t": now(), "kind": "paused"}, start=offset)
    runner.refresh_from_db()
    runner.observation.refresh_from_db()
