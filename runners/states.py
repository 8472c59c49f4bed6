"""The states of a runner and of a node, and the legal moves between them."""

from django.db.models import TextChoices


class RunnerStatus(TextChoices):
    QUEUED = "queued", "Queued"
    STARTING = "starting", "Starting"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    STOPPING = "stopping", "Stopping"
    TERMINATED = "terminated", "Terminated"
    FAILED = "failed", "Failed"
    UNKNOWN = "unknown", "Unknown"


S = RunnerStatus

MOVES: dict[RunnerStatus, frozenset[RunnerStatus]] = {
    S.QUEUED: frozenset({S.STARTING, S.TERMINATED}),
    S.STARTING: frozenset({S.RUNNING, S.STOPPING, S.FAILED, S.UNKNOWN}),
    S.RUNNING: frozenset({S.PAUSED, S.STOPPING, S.TERMINATED, S.FAILED, S.UNKNOWN}),
    S.PAUSED: frozenset({S.RUNNING, S.STOPPING, S.TERMINATED, S.FAILED, S.UNKNOWN}),
    S.STOPPING: frozenset({S.TERMINATED, S.FAILED, S.UNKNOWN}),
    S.UNKNOWN: frozenset({S.RUNNING, S.PAUSED, S.STOPPING, S.TERMINATED, S.FAILED}),
    # A restart is a new attempt of the same runner: generation + 1.
    S.TERMINATED: frozenset({S.STARTING}),
    S.FAILED: frozenset({S.STARTING}),
}

TERMINAL = frozenset({S.TERMINATED, S.FAILED})
#: Counted by quotas and slots: a runner that has, or is about to have, a process.
OCCUPYING = frozenset({S.STARTING, S.RUNNING, S.PAUSED, S.STOPPING, S.UNKNOWN})
#: A process is believed to exist.
LIVE = frozenset({S.RUNNING, S.PAUSED, S.STOPPING, S.UNKNOWN})


def sources(to: RunnerStatus) -> frozenset[RunnerStatus]:
    """Return the states from which `to` may be reached."""
    return frozenset(start for start, ends in MOVES.items() if to in ends)


class NodeStatus(TextChoices):
    ONLINE = "online", "Online"
    DRAINING = "draining", "Draining"
    OFFLINE = "offline", "Offline"


class ProjectStatus(TextChoices):
    ACTIVE = "active", "Active"
    IDLE = "idle", "Idle"
    ARCHIVED = "archived", "Archived"


class RestartPolicy(TextChoices):
    """When an ended runner is started again, by itself. One that was asked to stop never is."""

    NEVER = "never", "Never"
    ON_FAILURE = "on_failure", "On failure"
    ALWAYS = "always", "Always"


class OnLimit(TextChoices):
    """What a launch does when the quota or the nodes are full."""

    REFUSE = "refuse", "Refuse"
    WAIT = "wait", "Wait in the queue"


class Isolation(TextChoices):
    """Where a runner works: in the project's directory itself, or in a git worktree of its own."""

    NONE = "none", "None: the project's own directory"
    WORKTREE = "worktree", "A git worktree and branch of its own"


class WorktreeEnd(TextChoices):
    """What becomes of a runner's worktree when the runner has ended."""

    KEEP = "keep", "Keep it"
    MERGE = "merge", "Merge it, if that goes without conflict"
    REMOVE = "remove", "Remove it; the diff stays"


class WorktreeState(TextChoices):
    OPEN = "open", "In use"
    KEPT = "kept", "Kept"
    MERGED = "merged", "Merged"
    REMOVED = "removed", "Removed"


class OperationStatus(TextChoices):
    PENDING = "pending", "Pending"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"


class ItemResult(TextChoices):
    """What came of one item of an operation."""

    PENDING = "pending", "To do"
    DONE = "done", "Done"
    SKIPPED = "skipped", "Skipped"
    FAILED = "failed", "Refused"
    CANCELLED = "cancelled", "Cancelled"


class Beginning(TextChoices):
    """How a session began. One that a later runner resumes stays the session that it is."""

    NEW = "new", "New"
    FORKED = "forked", "Forked"
    REBUILT = "rebuilt", "Rebuilt from the transcript"


class ConversationMode(TextChoices):
    NEW = "new", "New"
    CONTINUE = "continue", "Continue"
    RESUME = "resume", "Resume"
    FORK = "fork", "Fork"


class Activity(TextChoices):
    """What a program is about, as it tells itself. Its runner is `running` all the while."""

    UNKNOWN = "", "Unknown"
    IDLE = "idle", "Waits for a prompt"
    WORKING = "working", "Works"
    NEEDS_APPROVAL = "needs_approval", "Needs approval"
    RATE_LIMITED = "rate_limited", "Rate limited"


class Role(TextChoices):
    """Who speaks in a message."""

    SYSTEM = "system", "System"
    USER = "user", "User"
    ASSISTANT = "assistant", "Assistant"
    TOOL = "tool", "Tool"


class SearchMode(TextChoices):
    """What a search goes by."""

    HYBRID = "hybrid", "Words and meaning"
    TEXT = "text", "Words"
    VECTORS = "vectors", "Meaning"


class CostSource(TextChoices):
    """Where a cost comes from; an unknown cost is shown as unknown, never as 0."""

    REPORTED = "reported", "Reported by the program"
    PRICED = "priced", "Priced by us"
    UNKNOWN = "unknown", "Unknown"


class BudgetScope(TextChoices):
    """Whose usage a budget counts."""

    GLOBAL = "global", "Everything"
    PROJECT = "project", "Project"
    AGENT = "agent", "Agent"
    PERSONALITY = "personality", "Personality"
    RUNNER = "runner", "Runner"


class Period(TextChoices):
    """After which stretch of a zone's calendar a budget begins anew. Weeks begin on Monday."""

    HOURLY = "hourly", "Hourly"
    DAILY = "daily", "Daily"
    WEEKLY = "weekly", "Weekly"
    MONTHLY = "monthly", "Monthly"


class BudgetUnit(TextChoices):
    TOKENS = "tokens", "Tokens"
    USD = "usd", "US dollars"


class BudgetAction(TextChoices):
    """What happens to the scope's runners when a budget is spent. Other than with warn, launches are refused too."""

    WARN = "warn", "Warn"
    PAUSE = "pause", "Pause"
    STOP = "stop", "Stop"


class TranscriptKind(TextChoices):
    """Which file of a run directory a transcript is."""

    OUTPUT = "output", "Terminal"
    TELEMETRY = "telemetry", "Telemetry"


class ApprovalMode(TextChoices):
    """What becomes of what a program may not do by itself."""

    DENY = "deny", "It is denied"
    ASK = "ask", "It is asked for"


class ApprovalState(TextChoices):
    WAITING = "waiting", "Waiting"
    ALLOWED = "allowed", "Allowed"
    DENIED = "denied", "Denied"
    EXPIRED = "expired", "Expired"
    WITHDRAWN = "withdrawn", "Withdrawn"


#: Of these the program is told; an expired question counts as denied.
ANSWERED = frozenset({ApprovalState.ALLOWED, ApprovalState.DENIED, ApprovalState.EXPIRED})


class RuleEffect(TextChoices):
    ALLOW = "allow", "Allow"
    DENY = "deny", "Deny"


class RuleScope(TextChoices):
    """Whose questions a rule answers."""

    GLOBAL = "global", "Everything"
    PROJECT = "project", "Project"
    AGENT = "agent", "Agent"
    PERSONALITY = "personality", "Personality"
    SESSION = "session", "Session"


class AnswerScope(TextChoices):
    """For what a person's answer holds."""

    ONCE = "once", "This once"
    SESSION = "session", "For the rest of the session"
