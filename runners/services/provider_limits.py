"""Providers' limits: noted when a program tells of one, held for all of the same credential, over by themselves.

All moments are the database's. A limit of which nobody said when it ends is tried again after a pause that doubles.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from outbox.services import record_act
from runners import acts
from runners.backends import get_backend
from runners.backends.base import Fact, StateFact
from runners.exceptions import MoveRefused
from runners.limit_events import limit_cleared, limit_reached
from runners.models import Observation, ProviderLimit, Runner
from runners.querysets import RunnerQuerySet
from runners.services.credentials import credential_label, credential_of
from runners.sql import database_now
from runners.states import TERMINAL, Activity, RunnerStatus
from runners.transitions import start_waiting_soon

#: A shorter wait is the program's own affair: it sits it out.
SHORTEST = timedelta(seconds=10)
#: Weekly limits are the longest there are. Whoever says later is not believed.
LONGEST = timedelta(days=8)
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 900.0
#: An end that was told a few seconds differently is the same.
SAME = timedelta(seconds=30)
#: A limit that was last reached longer ago is a new one.
QUIET = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a runner's program told of its provider's limit."""

    runner: Runner
    credential: str
    label: str
    #: The latest end that it was told; None: it was told none.
    until: datetime | None
    note: str
    #: It ended, and a limit was the last thing it told.
    gave_up: bool


def hear_limit(runner: Runner, observation: Observation, facts: Iterable[Fact], *, has_ended: bool) -> Heard | None:
    """Return what the program tells of a limit that is to hold others too; None: nothing."""
    told = [fact for fact in facts if isinstance(fact, StateFact) and fact.activity == Activity.RATE_LIMITED]
    gave_up = has_ended and observation.activity == Activity.RATE_LIMITED
    backend = get_backend(runner.backend)
    if not backend.provider or runner.node is None or not (told or gave_up):
        return None
    now = database_now()
    ends = [min(fact.until, now + LONGEST) for fact in told if fact.until and fact.until > now + SHORTEST]
    if not ends and not gave_up:
        return None
    credential = credential_of(backend, runner.credential, runner.node)
    return Heard(
        runner=runner,
        credential=credential,
        label=credential_label(backend, credential, runner.node),
        until=max(ends, default=None),
        note=observation.activity_note or (told[-1].note if told else ""),
        gave_up=gave_up,
    )


def note_limits(heard: Iterable[Heard]) -> dict[UUID, datetime]:
    """Note what the programs of locked runners told; in the transaction of their telemetry.

    Return until when those wait that gave up. Limits are locked in their order: of two node agents that hear of the
    same ones, one waits for the other, never both.
    """
    waits: dict[UUID, datetime] = {}
    for each in sorted(heard, key=lambda each: each.credential):
        now = database_now()
        limit = _locked(each.credential, each.label, now)
        if each.until or not limit.in_force(now):
            _reached(limit, each.runner, until=each.until, note=each.note, now=now)
        if each.gave_up:
            waits[each.runner.pk] = limit.until
    return waits


def _locked(credential: str, label: str, now: datetime) -> ProviderLimit:
    """Return the limit of a credential, locked; a new one is over."""
    ProviderLimit.objects.get_or_create(credential=credential, defaults={"label": label, "until": now})
    return ProviderLimit.objects.select_for_update().get(credential=credential)


def _reached(limit: ProviderLimit, runner: Runner, *, until: datetime | None, note: str, now: datetime) -> None:
    """Let the locked limit hold until then, or for a pause where nobody said; tell of it if that is news."""
    if until is not None and limit.in_force(now) and limit.is_told and until <= limit.until + SAME:
        return
    again = not limit.is_told and limit.reached_at > now - QUIET
    limit.hits = limit.hits + 1 if again and until is None else 1
    limit.until, limit.is_told = until or now + _pause(limit.hits), until is not None
    limit.note, limit.runner, limit.reached_at = note[:200], runner, now
    limit.cleared_at, limit.cleared_by = None, ""
    limit.save()
    limit_reached(limit, runner)


def _pause(hits: int) -> timedelta:
    seconds = min(FIRST_PAUSE_SECONDS * 2 ** min(hits - 1, 10), LONGEST_PAUSE_SECONDS)
    return timedelta(seconds=seconds * random.uniform(0.75, 1.0))  # noqa: S311 - jitter, not a secret


def limits_in_force() -> dict[str, ProviderLimit]:
    """Return the limits that hold now, by credential."""
    holding = ProviderLimit.objects.filter(cleared_at__isnull=True, until__gt=database_now())
    return {limit.credential: limit for limit in holding}


def waiting_for(limit: ProviderLimit) -> RunnerQuerySet:
    """Return the runners that wait for the end of a limit: queued ones, and those that start again then."""
    queued = Q(status=RunnerStatus.QUEUED, reason__startswith=f"waits: provider limit of {limit.label} ")
    return Runner.objects.filter(queued | Q(status__in=TERMINAL, restart_at=limit.until))


@transaction.atomic
def wait_on(runner_id: UUID, limit_id: int) -> None:
    """Let a runner whose restart is due wait for the end of a limit that was prolonged since; it may be over by now."""
    # Locked: whoever clears it either sees this runner wait for it, or is seen.
    limit = ProviderLimit.objects.select_for_update().get(pk=limit_id)
    now = database_now()
    due = Runner.objects.filter(pk=runner_id, restart_at__lte=now)
    if limit.in_force(now) and (runner := due.first()):
        words = why_it_waits(limit.until, runner.reason.partition("; ")[2])
        due.update(restart_at=limit.until, reason=words)


def why_it_waits(until: datetime, ended: str) -> str:
    """Return the reason of a runner that gave up and starts again; `ended` is how it ended."""
    return f"waits: provider limit until {until:%Y-%m-%d %H:%M:%S} UTC; {ended}"[:200]


@transaction.atomic
def clear_limit(limit_id: int, *, actor: str, reason: str = "") -> ProviderLimit:
    """End a limit by hand: whoever waits for it goes on. Harmless if it is over."""
    limit = ProviderLimit.objects.select_for_update().get(pk=limit_id)
    now = database_now()
    if not limit.in_force(now):
        return limit
    limit.cleared_at, limit.cleared_by = now, actor
    limit.save(update_fields=["cleared_at", "cleared_by"])
    Runner.objects.filter(status__in=TERMINAL, restart_at=limit.until).update(restart_at=now)
    record_act(
        "limit.clear",
        actor=actor,
        target_type="limit",
        target_id=limit.pk,
        target_name=limit.label,
        before={"until": limit.until},
        after={"until": now},
        reason=reason,
    )
    limit_cleared(limit, actor=actor)
    start_waiting_soon()
    return limit


@transaction.atomic
def start_anyway(runner_id: UUID, *, actor: str) -> Runner:
    """End the wait of this one runner for its provider: it starts as soon as there is a place.

    Raises MoveRefused unless it is queued, or has ended and is to start again. To end its wait otherwise, stop it.
    """
    runner = (
        Runner.objects.select_for_update(of=("self",)).select_related("project", "node").filter(pk=runner_id).first()
    )
    if runner is None:
        raise MoveRefused(f"There is no runner {runner_id}.")
    if runner.status != RunnerStatus.QUEUED and runner.restart_at is None:
        raise MoveRefused(f"{runner.name} is {runner.status}: it does not wait.", status=runner.status)
    if not runner.ignores_limit:
        runner.ignores_limit = True
        if runner.restart_at is not None:
            runner.restart_at = database_now()
        runner.save(update_fields=["ignores_limit", "restart_at"])
        acts.on_runner("start_anyway", runner, actor=actor, before={"reason": runner.reason}, after={})
    start_waiting_soon()
    return runner
