"""Make budgets hold: pause or stop what runs, and let it go on when they allow it again. Refusals: allowance.py."""

from datetime import timedelta
from functools import reduce
from operator import or_
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from runners import acts
from runners.exceptions import MoveRefused
from runners.models import Budget, BudgetPeriod, Runner
from runners.querysets import RunnerQuerySet
from runners.scopes import in_scope
from runners.services.charging import tell
from runners.services.standing import Standing, spent, standing_of, standings
from runners.services.steer import send_pause, send_resume, stop_runner
from runners.sql import BUDGET_LOCK, lock_for_transaction
from runners.states import BudgetAction, RunnerStatus

log = structlog.get_logger(__name__)

ACTOR = "system:budget"
#: A pause or resume that was sent and has shown nothing is sent again after this: pausing takes well under a second.
PATIENCE = timedelta(seconds=5)
#: Why a queued runner waits, if it is for a budget. places.py and launch.py put the refusal behind "waits: ".
WAITS = "waits: Budget "
GOES_ON = "goes on: no budget holds it any more"

S = RunnerStatus
#: Whom a spent budget acts on. A starting one cannot be paused yet: that is done as soon as it runs.
TARGETS = {
    BudgetAction.PAUSE: frozenset({S.RUNNING}),
    BudgetAction.STOP: frozenset({S.STARTING, S.RUNNING, S.PAUSED, S.UNKNOWN}),
}


def enforce_budget(budget_id: int) -> int:
    """Pause or stop the runners of a spent budget; return how many were asked to. May run at any time, twice."""
    with transaction.atomic():
        # Launches that saw it unspent have committed when this lock is had, and are found below.
        lock_for_transaction(BUDGET_LOCK, budget_id)
    budget = Budget.objects.active().holding().filter(pk=budget_id).first()
    if budget is None:
        return 0
    standing = standing_of(budget)
    if not standing.is_spent:
        return 0
    done = sum(_act(runner_id, standing) for runner_id in _targets(budget).values_list("pk", flat=True))
    if done:
        log.info("budget_enforced", budget=budget.name, action=budget.action, runners=done)
    return done


def watch_budgets() -> dict[str, int]:
    """Look at all budgets: what one message or one moment may have missed is made good within a second.

    A period that begins, a raise and its end change what is allowed without any usage that would tell.
    """
    now = timezone.now()
    seen = standings(Budget.objects.active(), at=now)
    for standing in seen:
        if standing.level > standing.alerted:
            _tell_late(standing)
    blocking = spent(seen)
    return {
        "acted": sum(enforce_budget(each.budget.pk) for each in blocking if _targets(each.budget).exists()),
        "released": sum(_release(runner_id) for runner_id in _releasable(blocking)),
        "explained": _explain_waiting(blocking),
    }


def of_any(blocking: list[Standing]) -> Q:
    """Return the condition on runners that one of the budgets counts; of none, no runner."""
    conditions = [in_scope(each.budget.scope, each.budget.scope_key) for each in blocking]
    if any(not condition for condition in conditions):
        return Q(pk__isnull=False)
    return reduce(or_, conditions, Q(pk__in=[]))


def _targets(budget: Budget) -> RunnerQuerySet:
    runners = Runner.objects.filter(
        in_scope(budget.scope, budget.scope_key), status__in=TARGETS[BudgetAction(budget.action)]
    )
    if budget.action == BudgetAction.PAUSE:
        late = Q(held_at__lt=timezone.now() - PATIENCE)
        runners = runners.filter(Q(held_at=None) | Q(held_reason=GOES_ON) | late)
    return runners


def _act(runner_id: UUID, standing: Standing) -> int:
    reason = standing.refusal().message[:200]
    try:
        if standing.budget.action == BudgetAction.STOP:
            stop_runner(runner_id, actor=ACTOR, reason=reason)
            return 1
        return _hold(runner_id, reason)
    except MoveRefused:
        return 0  # it ended, or moved on, since it was read


@transaction.atomic
def _hold(runner_id: UUID, reason: str) -> int:
    """Ask the node to pause a running runner, and note that it is a budget's doing."""
    runner = Runner.objects.select_for_update(of=("self",)).select_related("node").get(pk=runner_id)
    if runner.status != RunnerStatus.RUNNING:
        return 0
    Runner.objects.filter(pk=runner_id).update(held_at=timezone.now(), held_reason=reason)
    acts.on_runner(
        "pause", runner, actor=ACTOR, before={"status": S.RUNNING}, after={"status": S.PAUSED}, reason=reason
    )
    send_pause(runner)
    return 1


def _releasable(blocking: list[Standing]) -> list[UUID]:
    """Return the runners that a budget paused and that none holds now."""
    held = Runner.objects.filter(held_at__isnull=False, status__in=[S.RUNNING, S.PAUSED]).exclude(of_any(blocking))
    waiting_long = Q(held_at__lt=timezone.now() - PATIENCE)
    return list(held.filter(~Q(held_reason=GOES_ON) | waiting_long).values_list("pk", flat=True))


@transaction.atomic
def _release(runner_id: UUID) -> int:
    """Let a runner go on that a budget paused; a person's pause is not touched, for it has no `held_at`."""
    runner = Runner.objects.select_for_update(of=("self",)).select_related("node").get(pk=runner_id)
    if runner.held_at is None or runner.status not in {S.RUNNING, S.PAUSED}:
        return 0
    if runner.status == S.RUNNING and runner.held_reason == GOES_ON:
        # It was let go before its pause could take effect: there is nothing more to wait for.
        Runner.objects.filter(pk=runner_id).update(held_at=None, held_reason="")
        return 0
    Runner.objects.filter(pk=runner_id).update(held_at=timezone.now(), held_reason=GOES_ON)
    acts.on_runner(
        "resume", runner, actor=ACTOR, before={"status": S.PAUSED}, after={"status": S.RUNNING}, reason=GOES_ON
    )
    send_resume(runner)
    return 1


@transaction.atomic
def _tell_late(standing: Standing) -> None:
    """Tell of a threshold that was reached without usage: a limit was lowered, a raise ended."""
    now = timezone.now()
    period = (
        BudgetPeriod.objects.select_for_update().filter(budget=standing.budget, starts_at=standing.bounds.start).first()
    )
    budget = Budget.objects.active().filter(pk=standing.budget.pk).with_raised(now).first()
    if period is not None and budget is not None:
        tell(budget, period, now=now)


def _explain_waiting(blocking: list[Standing]) -> int:
    """Show queued runners for which budget they wait; return how many reasons changed."""
    queued = Runner.objects.filter(status=RunnerStatus.QUEUED)
    changed = queued.filter(reason__startswith=WAITS).exclude(of_any(blocking)).update(reason="")
    # One that waits for two budgets keeps the reason it has while that one is true.
    true = [Q(reason__startswith=f"{WAITS}{each.budget.name} is spent") for each in blocking]
    for standing in blocking:
        own = queued.filter(in_scope(standing.budget.scope, standing.budget.scope_key)).exclude(reduce(or_, true))
        changed += own.update(reason=f"waits: {standing.refusal().message}"[:200])
    return changed
