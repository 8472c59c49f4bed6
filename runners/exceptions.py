"""Errors of the runners: each is a refusal, and says what the caller needs to mend it."""

from collections.abc import Mapping
from typing import Any


class RunnerError(Exception):
    """Something about runners was refused."""

    #: Stable word for machines: the `type` of the API's problem document.
    code = "refused"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts: Mapping[str, Any] = facts


class LaunchRefused(RunnerError):
    """A launch was refused before anything started."""

    code = "launch_refused"


class InvalidRequest(LaunchRefused):
    """What was asked for makes no sense for this backend; `field` names the culprit."""

    code = "invalid_request"


class ProgramNotFound(LaunchRefused):
    """The backend's program is not on the node."""

    code = "program_not_found"


class EngineNotFound(ProgramNotFound):
    """A container was asked for, and no node has an engine to run one."""

    code = "engine_not_found"


class PathNotAllowed(LaunchRefused):
    """A path lies outside the allowed workspace roots, or does not exist."""

    code = "path_not_allowed"


class NotIsolated(LaunchRefused):
    """The workspace cannot be given a worktree: it is in no git repository, or that has no commit."""

    code = "not_isolated"


class NoPlace(LaunchRefused):
    """There is no place now; there may be one later, so a launch may wait for it."""


class QuotaExceeded(NoPlace):
    """The project has as many runners as its quota allows; `used` and `limit` are given."""

    code = "quota_exceeded"


class BudgetSpent(NoPlace):
    """A budget that counts the runner is spent; `used`, `limit` and when it begins anew are given."""

    code = "budget_spent"


class ProviderLimited(NoPlace):
    """The provider takes no more from this account; `until` and `limit_id` are given."""

    code = "provider_limited"


class NoNodeAvailable(NoPlace):
    """No online node has a free slot."""

    code = "no_node_available"


class SessionBusy(LaunchRefused):
    """A runner works in the session: another one would mix what they say; `runner_id` is given."""

    code = "session_busy"


class ProjectNotActive(LaunchRefused):
    """The project is archived."""

    code = "project_not_active"


class MoveRefused(RunnerError):
    """The runner is not in a state from which this move is legal, or the message is of an older generation."""

    code = "move_refused"


class PriceInUse(RunnerError):
    """Entries of the ledger were reckoned by this price: what it says stays."""

    code = "price_in_use"


class NodeUnreachable(RunnerError):
    """The node's agent did not answer in time."""

    code = "node_unreachable"


class WorktreeRefused(RunnerError):
    """There is no worktree to do that with, or its runner has not ended."""

    code = "worktree_refused"


class OperationRefused(RunnerError):
    """The operation cannot begin, or cannot be cancelled any more."""

    code = "operation_refused"


class EmbedderUnavailable(RunnerError):
    """No vectors can be had now, whatever the texts; `retry_after`: the seconds that were asked for."""

    code = "embedder_unavailable"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TextsRefused(RunnerError):
    """The embedder takes the texts for wrong, one of them at least: asked again, it would answer the same."""

    code = "texts_refused"


class TranscriptError(RunnerError):
    """A transcript could not be read."""

    code = "transcript_not_read"


class StorageAway(TranscriptError):
    """The storage of transcripts does not answer, or refuses us."""

    code = "storage_away"


class TranscriptMissing(TranscriptError):
    """There is no such transcript, not yet or not any more."""

    code = "transcript_missing"


class TranscriptDamaged(TranscriptError):
    """What is in storage is not what was stored; `part` names it."""

    code = "transcript_damaged"


class ApprovalSettled(RunnerError):
    """The question was answered before, or is not asked any more; `state`, `decided_by` and `decided_at` tell."""

    code = "approval_settled"


class RuleRefused(RunnerError):
    """What was asked of a rule makes no sense; `field` names the culprit."""

    code = "rule_refused"
