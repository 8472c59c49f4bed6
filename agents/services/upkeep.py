"""What no event tells: looked for every half minute."""

import structlog

from agents.services.dispatch import dispatch_all
from agents.services.runs import settle_ended
from agents.services.spawn import recover_stuck_spawns

log = structlog.get_logger(__name__)


def look_after() -> dict[str, int]:
    """Mend what is out of step, and give out what was not; return how often each was needed."""
    done = {
        "spawns_recovered": recover_stuck_spawns(),
        "runs_settled": settle_ended(),
        "jobs_given": dispatch_all(),
    }
    if any(done.values()):
        log.info("looked_after", **done)
    return done
