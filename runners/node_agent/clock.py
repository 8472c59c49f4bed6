"""This node's clock against the database's, by which all moments are written."""

import time
from datetime import datetime

import structlog

log = structlog.get_logger(__name__)

#: Less is what asking takes, and what clocks that are kept in step differ by.
TOLERANCE_SECONDS = 1.0


class Clock:
    """Knows by how much the database's clock is ahead of this node's, in seconds; negative: behind."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def compare(self, database_now: datetime, asked: float, answered: float) -> None:
        """Take in what the database's clock said between two moments of ours (epoch seconds)."""
        ahead = database_now.timestamp() - (asked + answered) / 2
        if abs(ahead) <= max(TOLERANCE_SECONDS, answered - asked):
            ahead = 0.0
        if abs(ahead - self.ahead) > TOLERANCE_SECONDS:
            log.warning("clock_differs", database_is_ahead_seconds=round(ahead, 1))
        self.ahead = ahead

    def now(self) -> float:
        """Return the database's time in epoch seconds."""
        return time.time() + self.ahead
