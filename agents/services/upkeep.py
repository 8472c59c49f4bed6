"""What no event tells: looked for every half minute."""

from datetime import datetime, timedelta

import structlog
from django.utils import timezone

from agents.models import Assignment
from agents.services.dispatch import dispatch_all
from agents.services.runs import settle_ended
from agents.services.spawn import recover_stuck_spawns
from runners.services import stop_runner
from runners.states import LIVE, RunnerStatus

log = structlog.get_logger(__name__)

ACTOR = "system:limits"
#: Their time is running; one that is stopping has been told already.
RUNNING = LIVE - {RunnerStatus.STOPPING}


def look_after() -> dict[str, int]:
    """Mend what is out of step, and give out what was not; return how often each was needed."""
    done = {
        "spawns_recovered": recover_stuck_spawns(),
        "runs_settled": settle_ended(),
        "runs_stopped": stop_overdue(),
        "jobs_given": dispatch_all(),
    }
    if any(done.values()):
        log.info("looked_after", **done)
    return done


def stop_overdue() -> int:
    """Stop the runs that take longer than their role allowed when they began; return how many."""
    now = timezone.now()
    running = (
        Assignment.objects.open()
        .filter(runner__status__in=sorted(RUNNING))
        .select_related("runner", "personality_version")
    )
    late = [each for each in running if _is_overdue(each, now)]
    for assignment in late:
        assert assignment.runner is not None  # noqa: S101 - the filter
        stop_runner(assignment.runner.pk, actor=ACTOR)
    return len(late)


def _is_overdue(assignment: Assignment, now: datetime) -> bool:
    version, runner = assignment.personality_version, assignment.runner
    minutes = version.content.get("max_minutes") if version else None
    if minutes is None or runner is None or runner.started_at is None:
        return False
    return now - runner.started_at > timedelta(minutes=minutes)
