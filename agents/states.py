"""The states of an agent, and the legal moves between them."""

from django.db.models import TextChoices


class AgentStatus(TextChoices):
    SPAWNING = "spawning", "Spawning"
    IDLE = "idle", "Idle"
    WORKING = "working", "Working"
    PAUSED = "paused", "Paused"
    COMPLETED = "completed", "Completed"
    ERROR = "error", "Error"
    RETIRED = "retired", "Retired"


A = AgentStatus

MOVES: dict[AgentStatus, frozenset[AgentStatus]] = {
    A.SPAWNING: frozenset({A.IDLE, A.ERROR}),
    A.IDLE: frozenset({A.WORKING, A.PAUSED, A.RETIRED}),
    A.WORKING: frozenset({A.IDLE, A.PAUSED, A.COMPLETED, A.ERROR}),
    A.PAUSED: frozenset({A.IDLE, A.WORKING, A.RETIRED}),
    A.COMPLETED: frozenset({A.WORKING, A.IDLE, A.RETIRED}),
    A.ERROR: frozenset({A.IDLE, A.RETIRED}),
    A.RETIRED: frozenset(),
}


def sources(to: AgentStatus) -> frozenset[AgentStatus]:
    """Return the states from which `to` may be reached."""
    return frozenset(start for start, ends in MOVES.items() if to in ends)
