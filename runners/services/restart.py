"""Start an ended runner again: by hand, or by its restart policy with growing pauses until it is a crash loop."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from outbox.services import bunched
from runners import acts, events
from runners.backends import get_backend
from runners.exceptions import MoveRefused, ProgramNotFound, RunnerError
from runners.models import Attempt, Node, Observation, Runner
from runners.services.launch import Start, check_program, enter_prompts, send_starts
from runners.services.places import Places
from runners.services.provider_limits import why_it_waits
from runners.services.rebuild import can_be_rebuilt, rebuild, rebuild_interrupted, why_told
from runners.services.resume import can_resume
from runners.several import Several
from runners.sql import database_now
from runners.sql_rows import update_together
from runners.states import TERMINAL, OnLimit, RestartPolicy, RunnerStatus
from runners.transitions import Moves, locked_runners

Runners = Several[UUID, Runner]

#: How the reason of an end goes on when the program did not know the conversation.
REBUILT = "it is told what was said, and starts again"
#: How the reason of an end begins when restarts are used up.
CRASH_LOOP = "crash loop"
#: Restarts older than this no longer count: a runner that kept quiet so long begins anew.
RESTART_WINDOW = timedelta(minutes=10)
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
#: What a new attempt has anew, beside what every move writes.
ANEW = frozenset({"generation", "node", "resumed", "ignores_limit", "session", "conversation_mode", "fork_anchor"})
OBSERVED_ANEW = (
    "generation", "telemetry_offset", "output_bytes", "cpu_percent", "memory_mb", "process_count", "parser_state",
)  # fmt: skip


def plan_restart(
    runner: Runner, to: RunnerStatus, reason: str, *, limited_until: datetime | None = None
) -> tuple[datetime | None, str]:
    """Return when a runner that comes to its end should start again, and the reason to show.

    None: not at all. One that was asked to stop never is; one that used up its restarts is in a crash loop. One that
    gave up for its provider's limit waits until that ends, if its policy or `on_limit` asks for it: that is no crash.
    """
    if to == RunnerStatus.FAILED and runner.status != RunnerStatus.STOPPING and can_be_rebuilt(runner, reason):
        return database_now(), f"{reason}: {REBUILT}"[:200]
    waits = runner.on_limit == OnLimit.WAIT or runner.restart_policy != RestartPolicy.NEVER
    if limited_until is not None and waits and runner.status != RunnerStatus.STOPPING and to == RunnerStatus.FAILED:
        return limited_until, why_it_waits(limited_until, reason)
    wanted = runner.restart_policy == RestartPolicy.ALWAYS or (
        runner.restart_policy == RestartPolicy.ON_FAILURE and to == RunnerStatus.FAILED
    )
    if not wanted or runner.status == RunnerStatus.STOPPING:
        return None, reason
    used = restarts_within_window(runner)
    if used >= runner.max_restarts:
        minutes = int(RESTART_WINDOW.total_seconds() // 60)
        return None, f"{CRASH_LOOP}: {used} restarts within {minutes} minutes; last: {reason}"
    return database_now() + pause_before(used), reason


def restarts_within_window(runner: Runner) -> int:
    """Return how many restarts count against the runner's limit now."""
    since = database_now() - RESTART_WINDOW
    return Attempt.objects.filter(runner=runner, generation__gt=1, placed_at__gt=since).count()


def pause_before(restarts: int) -> timedelta:
    """Return the pause before the next restart: it doubles, with jitter, so that not all return at once."""
    seconds = min(FIRST_PAUSE_SECONDS * 2**restarts, LONGEST_PAUSE_SECONDS)
    return timedelta(seconds=seconds * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def restart_runner(runner_id: UUID, *, actor: str, reason: str = "restarted") -> Runner:
    """Start an ended runner again as a new attempt, and return it `starting`.

    Where it can, it goes on in its session with a short prompt; else a new one is told what was said, and to go on. If
    nothing was, it begins anew with its own prompt.

    Raises MoveRefused unless it has ended, NoPlace where quota or nodes are full, ProgramNotFound.
    """
    return restart_runners([runner_id], actor=actor, reason=reason).only()


@dataclass(frozen=True)
class _Plan:
    """A restart that will be: its place is taken."""

    runner: Runner
    node: Node
    #: It goes on in its session.
    resumed: bool
    #: Columns of a session that is told the conversation that the attempt has not.
    rebuilt: Mapping[str, Any] = field(default_factory=dict)


@transaction.atomic
def restart_runners(ids: Iterable[UUID], *, actor: str, reason: str = "restarted") -> Runners:
    """Do restart_runner() to several: the first get the places there are."""
    given, several = list(dict.fromkeys(ids)), Runners()
    found = Runner.objects.select_related("project", "session", "node").in_bulk(given)
    places = Places({runner.project for runner in found.values()}, several=len(given) > 1)
    plans: list[_Plan] = []
    for runner_id in given:
        try:
            plans.append(_plan(runner_id, found.get(runner_id), places))
        except RunnerError as refusal:
            several.refused[runner_id] = refusal
    # Project and node, observation, runner: everybody locks in this order.
    observations = _locked_observations(plan.runner.pk for plan in plans)
    locked = locked_runners(observations)
    for plan in plans:
        runner_id, generation = plan.runner.pk, plan.runner.generation
        if locked[runner_id].generation != generation or locked[runner_id].status not in TERMINAL:
            several.refused[runner_id] = MoveRefused(f"{plan.runner.name} was started again meanwhile.")
        else:
            # Loaded with it: nothing but a restart changes it.
            locked[runner_id].session = plan.runner.session
            several.done[runner_id] = locked[runner_id]
    plans = [_with_session(plan, several.done[plan.runner.pk]) for plan in plans if plan.runner.pk in several.done]
    _move(plans, actor=actor, reason=reason)
    _begin_anew(plans, observations)
    with bunched():
        send_starts([Start(plan.runner) for plan in plans])
    return several


def _plan(runner_id: UUID, runner: Runner | None, places: Places) -> _Plan:
    """Take the place of a restart. Raises MoveRefused, NoPlace, ProgramNotFound; then none is taken."""
    if runner is None or runner.status not in TERMINAL:
        raise MoveRefused(f"{runner.name if runner else runner_id} has not ended: it cannot be started again.")
    goes_on = can_resume(runner)
    node = places.take(runner.project, runner, prefer=runner.node if goes_on else None)
    try:
        check_program(get_backend(runner.backend), runner, node)
    except ProgramNotFound:
        places.give_back(runner.project, node)
        raise
    return _Plan(runner, node, resumed=goes_on and node == runner.node)


def _with_session(plan: _Plan, runner: Runner) -> _Plan:
    """Return the plan of a locked runner. Where it does not go on in its session, another is written if need be."""
    return replace(plan, runner=runner, rebuilt={} if plan.resumed else _rebuilt(runner, plan.node))


def _rebuilt(runner: Runner, node: Node) -> dict[str, Any]:
    """Return the columns of a session that is told the conversation that the next attempt has not; empty: it has none.

    One that was to go on with an earlier session, and could not, is told that; one that had begun, what it said so far.
    """
    if can_be_rebuilt(runner, runner.reason):
        return rebuild(runner, because=f"{get_backend(runner.backend).label} did not know it any more")
    because = why_told(runner, node)
    return rebuild_interrupted(runner, because=because) if because else {}


def _locked_observations(ids: Iterable[UUID]) -> dict[UUID, Observation]:
    observations = Observation.objects.select_for_update().filter(pk__in=list(ids))
    return {each.pk: each for each in observations.order_by("pk")}


def _move(plans: Sequence[_Plan], *, actor: str, reason: str) -> None:
    """Move locked runners to their new attempts, each to its node, and tell so."""
    moves = Moves(actor=actor, also=ANEW)
    with bunched():
        for plan in plans:
            moves.move(
                plan.runner,
                RunnerStatus.STARTING,
                reason=reason,
                generation=plan.runner.generation + 1,
                node=plan.node,
                started_at=None,
                exit_code=None,
                exit_signal=None,
                pid=None,
                limits_in_force={},
                resumed=plan.resumed,
                ignores_limit=False,
                **plan.rebuilt,
            )
    moves.write()
    with bunched():
        for plan in plans:
            after = {"generation": plan.runner.generation, "node": plan.node.name}
            acts.on_runner("restart", plan.runner, actor=actor, after=after)
            if plan.runner.session is not None and (plan.rebuilt or plan.resumed):
                events.session_opened(plan.runner.session, plan.runner, resumed=plan.resumed)


def _begin_anew(plans: Sequence[_Plan], observations: Mapping[UUID, Observation]) -> None:
    """Let the new attempts' telemetry be read from its beginning; running totals of the conversations go on.

    Where the old ones' stood is kept with them: there may be more of it on a node that was lost.
    """
    before = [observations[plan.runner.pk] for plan in plans]
    # Before the observations tell of the new ones.
    attempts = Attempt.objects.filter(runner__in=[each.pk for each in before])
    older = list(attempts.filter(generation=F("runner__observation__generation")))
    for attempt in older:
        seen = observations[attempt.runner_id]
        attempt.telemetry_offset, attempt.parser_state = seen.telemetry_offset, seen.parser_state
    update_together(older, ("telemetry_offset", "parser_state"))
    for plan in plans:
        seen = observations[plan.runner.pk]
        kept = not plan.rebuilt and "totals" in seen.parser_state
        seen.parser_state = {"totals": seen.parser_state["totals"]} if kept else {}
        seen.generation, seen.telemetry_offset, seen.output_bytes = plan.runner.generation, 0, 0
        seen.cpu_percent, seen.memory_mb, seen.process_count = 0, 0, 0
    update_together(before, OBSERVED_ANEW)
    enter_prompts([plan.runner for plan in plans])
