"""The states of agents, jobs, assignments, todos and time entries, and the legal moves between them."""

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

#: An agent that may be given a job.
AVAILABLE = frozenset({A.IDLE, A.COMPLETED})


class JobStatus(TextChoices):
    PENDING = "pending", "Pending"
    BLOCKED = "blocked", "Blocked"
    IN_PROGRESS = "in_progress", "In progress"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


J = JobStatus

JOB_MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    J.PENDING: frozenset({J.IN_PROGRESS, J.BLOCKED, J.CANCELLED}),
    J.BLOCKED: frozenset({J.PENDING, J.CANCELLED}),
    J.IN_PROGRESS: frozenset({J.COMPLETED, J.FAILED, J.PENDING, J.CANCELLED}),
    J.FAILED: frozenset({J.PENDING, J.CANCELLED}),
    J.COMPLETED: frozenset(),
    J.CANCELLED: frozenset(),
}

#: Work on it has ended; a failed one may be tried again.
JOB_ENDED = frozenset({J.COMPLETED, J.FAILED, J.CANCELLED})
#: What depends on such a job cannot come free by itself.
JOB_DEAD_ENDS = frozenset({J.FAILED, J.CANCELLED})


class Priority(TextChoices):
    LOW = "low", "Low"
    MEDIUM = "medium", "Medium"
    HIGH = "high", "High"
    CRITICAL = "critical", "Critical"


#: Of two that wait, the one with the higher rank goes first.
PRIORITY_RANK = {Priority.LOW: 0, Priority.MEDIUM: 1, Priority.HIGH: 2, Priority.CRITICAL: 3}


class Decision(TextChoices):
    """What a job asks people to decide."""

    NONE = "", "Nothing"
    DEPENDENCY = "dependency", "A dependency failed or was cancelled: drop it, or cancel this job"
    FAILURES = "failures", "It failed too often: try it again, or cancel it"


class Outcome(TextChoices):
    """How an assignment ended; empty while it is open."""

    OPEN = "", "Open"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    LOST = "lost", "Lost"
    STOPPED = "stopped", "Stopped"
    RELEASED = "released", "Put back"
    CANCELLED = "cancelled", "Cancelled"


#: Outcomes that count against a job's allowed failures: a run that is lost each time is no better than one that fails.
FAILURES = frozenset({Outcome.FAILED, Outcome.LOST})


class TodoStatus(TextChoices):
    PENDING = "pending", "Pending"
    IN_PROGRESS = "in_progress", "In progress"
    COMPLETED = "completed", "Completed"


class TimeStatus(TextChoices):
    ACTIVE = "active", "Active"
    PAUSED = "paused", "Paused"
    COMPLETED = "completed", "Completed"


def sources(to: AgentStatus) -> frozenset[AgentStatus]:
    """Return the states from which an agent may reach `to`."""
    return frozenset(start for start, ends in MOVES.items() if to in ends)


def job_sources(to: JobStatus) -> frozenset[JobStatus]:
    """Return the states from which a job may reach `to`."""
    return frozenset(start for start, ends in JOB_MOVES.items() if to in ends)
