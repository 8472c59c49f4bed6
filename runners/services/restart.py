"""Start an ended runner again: by hand, or by its restart policy with growing pauses until it is a crash loop."""

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from runners import acts, events
from runners.backends import get_backend
from runners.exceptions import MoveRefused
from runners.models import Attempt, Node, Observation, Runner
from runners.services.launch import check_program, enter_prompt, send_start
from runners.services.places import take_place
from runners.services.provider_limits import why_it_waits
from runners.services.rebuild import can_be_rebuilt, rebuild, rebuild_interrupted, why_told
from runners.services.resume import can_resume, resumes_on
from runners.sql import database_now
from runners.states import TERMINAL, OnLimit, RestartPolicy, RunnerStatus
from runners.transitions import move

#: How the reason of an end goes on when the program did not know the conversation.
REBUILT = "it is told what was said, and starts again"
#: How the reason of an end begins when restarts are used up.
CRASH_LOOP = "crash loop"
#: Restarts older than this no longer count: a runner that kept quiet so long begins anew.
RESTART_WINDOW = timedelta(minutes=10)
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0


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


@transaction.atomic
def restart_runner(runner_id: UUID, *, actor: str, reason: str = "restarted") -> Runner:
    """Start an ended runner again as a new attempt, and return it `starting`.

    Where it can, it goes on in its session with a short prompt; else a new one is told what was said, and to go on. If
    nothing was, it begins anew with its own prompt.

    Raises MoveRefused unless it has ended, NoPlace where quota or nodes are full, ProgramNotFound.
    """
    runner = Runner.objects.select_related("project", "session", "node").filter(pk=runner_id).first()
    if runner is None or runner.status not in TERMINAL:
        raise MoveRefused(f"{runner.name if runner else runner_id} has not ended: it cannot be started again.")
    node = take_place(runner.project, runner, prefer=runner.node if can_resume(runner) else None)
    resumed = resumes_on(runner, node)
    check_program(get_backend(runner.backend), runner, node)
    # Project and node, observation, runner: everybody locks in this order.
    observation = Observation.objects.select_for_update().get(runner=runner)
    rebuilt = {} if resumed else _rebuilt(runner, node)
    moved = move(
        runner_id,
        RunnerStatus.STARTING,
        generation=runner.generation,
        actor=actor,
        reason=reason,
        next_generation=runner.generation + 1,
        node=node,
        started_at=None,
        exit_code=None,
        exit_signal=None,
        pid=None,
        limits_in_force={},
        resumed=resumed,
        ignores_limit=False,
        **rebuilt,
    )
    acts.on_runner("restart", moved, actor=actor, after={"generation": moved.generation, "node": node.name})
    _begin_anew(moved, observation, keep_totals=not rebuilt)
    if rebuilt and moved.session is not None:
        events.session_opened(moved.session, moved, resumed=False)
    if resumed and moved.session is not None:
        events.session_opened(moved.session, moved, resumed=True)
    send_start(moved)
    return moved


def _rebuilt(runner: Runner, node: Node) -> dict[str, Any]:
    """Return the columns of a session that is told the conversation that the next attempt has not; empty: it has none.

    One that was to go on with an earlier session, and could not, is told that; one that had begun, what it said so far.
    """
    if can_be_rebuilt(runner, runner.reason):
        return rebuild(runner, because=f"{get_backend(runner.backend).label} did not know it any more")
    because = why_told(runner, node)
    return rebuild_interrupted(runner, because=because) if because else {}


def _begin_anew(runner: Runner, before: Observation, *, keep_totals: bool) -> None:
    """Let the new attempt's telemetry be read from its beginning; running totals of the conversation go on.

    Where the old one's stood is kept with it: there may be more of it on a node that was lost.
    """
    state = before.parser_state
    Attempt.objects.filter(runner=runner, generation=before.generation).update(
        telemetry_offset=before.telemetry_offset, parser_state=state
    )
    Observation.objects.filter(runner=runner).update(
        generation=runner.generation,
        telemetry_offset=0,
        output_bytes=0,
        cpu_percent=0,
        memory_mb=0,
        process_count=0,
        parser_state={"totals": state["totals"]} if keep_totals and "totals" in state else {},
    )
    enter_prompt(runner)
