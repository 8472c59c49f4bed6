"""The problems the API answers with (RFC 9457): the one place where a refusal gets its HTTP status."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents import exceptions as agents
from outbox import exceptions as outbox
from runners import exceptions as runners

#: `type` of a problem is this and its code: a URI reference that is stable, and is listed at /api/v1/problems/.
TYPE_PREFIX = "/problems/"


@dataclass(frozen=True)
class Problem:
    """One kind of problem. `type` and `title` never change with the occurrence; `detail` does."""

    code: str
    status: int
    title: str
    remedy: str

    @property
    def type(self) -> str:
        return f"{TYPE_PREFIX}{self.code}"

    def document(self, detail: str, **members: Any) -> dict[str, Any]:
        """Return the problem document of one occurrence; `members` are extension members."""
        return {"type": self.type, "title": self.title, "status": self.status, "detail": detail, **members}


#: Refusals of HTTP itself, by status. 400 and 422 differ so: 400 is a body or query that could not be read as what the
#: schema says; 422 was read well, and refused for what it asks.
HTTP_PROBLEMS = {
    problem.status: problem
    for problem in (
        Problem("malformed", 400, "The request is malformed", "Send what the schema at /api/schema/ describes."),
        Problem("not_authenticated", 401, "Who are you?", "Sign in, or send `Authorization: Token <token>`."),
        Problem("forbidden", 403, "You may not do that", "Ask staff for the permission named in `detail`."),
        Problem("not_found", 404, "There is no such thing", "Check the address."),
        Problem("method_not_allowed", 405, "This address does not take that method", "See the header `Allow`."),
        Problem("not_acceptable", 406, "The answer is JSON only", "Accept application/json."),
        Problem("too_large", 413, "The request is too large", "Send less at once."),
        Problem("unsupported_media_type", 415, "The request must be JSON", "Send `Content-Type: application/json`."),
        Problem("too_many_requests", 429, "Too many requests", "Wait as long as `Retry-After` says."),
    )
}
VALIDATION = Problem("validation", 400, "Some fields are not valid", "Mend the fields named in `errors`.")
OTHER = Problem("refused", 409, "The request was refused", "See `detail`.")

#: Domain errors by class; an error counts as its nearest listed ancestor. What is not listed is a fault of ours: 500.
DOMAIN_PROBLEMS: Mapping[type[Exception], Problem] = {
    runners.RunnerError: OTHER,
    runners.LaunchRefused: Problem("launch_refused", 422, "The launch was refused", "See `detail`."),
    runners.InvalidRequest: Problem(
        "invalid_request", 422, "What was asked for makes no sense", "Mend the field named in `field`."
    ),
    runners.PathNotAllowed: Problem(
        "path_not_allowed", 422, "The path is not allowed", "Choose a directory below an allowed workspace root."
    ),
    runners.EngineNotFound: Problem(
        "engine_not_found", 422, "No node has a container engine", "Start Podman's or Docker's API service on a node."
    ),
    runners.ProgramNotFound: Problem(
        "program_not_found", 422, "The program is not on the node", "Install it there, or choose another backend."
    ),
    runners.SessionBusy: Problem(
        "session_busy", 409, "A runner works in the session", "Wait for its end or stop it, or fork the session."
    ),
    runners.NotIsolated: Problem(
        "not_isolated",
        422,
        "The workspace cannot be given a worktree",
        "Make it a git repository with a commit, or launch with isolation none.",
    ),
    runners.OperationRefused: Problem(
        "operation_refused", 409, "The operation cannot be begun or cancelled", "See `detail`; look at a preview again."
    ),
    runners.WorktreeRefused: Problem(
        "worktree_refused", 409, "The runner's worktree does not allow that", "Look at its `changes/` and decide again."
    ),
    runners.QuotaExceeded: Problem(
        "quota_exceeded",
        409,
        "The project's quota is full",
        "Stop a runner, or raise the quota; `used` and `limit` are given.",
    ),
    runners.BudgetSpent: Problem(
        "budget_spent",
        409,
        "A budget is spent",
        "Wait until `period_end`, or have the budget raised; `used` and `limit` are given.",
    ),
    runners.ProviderLimited: Problem(
        "provider_limited",
        409,
        "The provider takes no more from this account now",
        "Wait until `until`, or launch with `on_limit: wait`.",
    ),
    runners.NoNodeAvailable: Problem(
        "no_node_available", 409, "No node has a free slot", "Try again later, or start a node agent."
    ),
    runners.ProjectNotActive: Problem("project_not_active", 409, "The project is archived", "Choose another project."),
    runners.MoveRefused: Problem(
        "move_refused", 409, "The runner's state does not allow that", "Look at its `status` and decide again."
    ),
    runners.EmbedderUnavailable: Problem(
        "embedder_unavailable", 503, "No vectors can be had now", "Try again later, or search by words: mode text."
    ),
    runners.TextsRefused: Problem("texts_refused", 422, "The embedder refused the text", "Look at `detail`."),
    runners.ApprovalSettled: Problem(
        "approval_settled",
        409,
        "It was answered before, or is not asked any more",
        "Look at `state`; `decided_by` and `decided_at` tell who was faster.",
    ),
    runners.RuleRefused: Problem(
        "rule_refused", 422, "What was asked of a rule makes no sense", "Mend the field named in `field`."
    ),
    runners.PriceInUse: Problem(
        "price_in_use", 409, "Usage was priced by it", "End it with `valid_to`, and add the new price."
    ),
    runners.NodeUnreachable: Problem(
        "node_unreachable",
        503,
        "The node's agent does not answer",
        "Try again; look at the node's log if it stays away.",
    ),
    runners.TranscriptError: Problem("transcript_not_read", 500, "The transcript cannot be read", "See `detail`."),
    runners.TranscriptMissing: Problem(
        "transcript_missing", 404, "There is no such recording", "Wait until it is stored; it may have been removed."
    ),
    runners.TranscriptDamaged: Problem(
        "transcript_damaged",
        500,
        "The recording is damaged",
        "Restore the part named in `part`; the others can be read.",
    ),
    runners.StorageAway: Problem(
        "storage_away", 503, "The storage of transcripts does not answer", "Try again; look at its own log."
    ),
    agents.AgentError: OTHER,
    agents.InvalidAgent: Problem(
        "invalid_agent", 422, "What was asked of an agent makes no sense", "Mend the field named in `field`."
    ),
    agents.AgentMoveRefused: Problem(
        "agent_move_refused", 409, "The agent's state does not allow that", "Look at its `status` and decide again."
    ),
    agents.PersonalityInUse: Problem(
        "personality_in_use", 409, "Agents have this personality", "Give the agents another one first."
    ),
    outbox.WebhookRefused: Problem(
        "webhook_refused", 422, "What was asked of a webhook makes no sense", "Mend the field named in `field`."
    ),
    outbox.NotificationRefused: Problem(
        "notification_refused",
        422,
        "What was asked of a notification target makes no sense",
        "Mend the field named in `field`.",
    ),
    outbox.WebhookInactive: Problem(
        "webhook_inactive", 409, "The webhook is switched off", "Switch it on first: PATCH with `active`."
    ),
    agents.AgentInUse: Problem("agent_in_use", 409, "The agent has worked", "Retire it instead."),
    agents.InvalidImport: Problem(
        "invalid_import", 422, "These files cannot be taken in", "Mend the field named in `field`."
    ),
    agents.InvalidJob: Problem(
        "invalid_job", 422, "What was asked of a job makes no sense", "Mend the field named in `field`."
    ),
    agents.MissingDependencies: Problem(
        "missing_dependencies", 422, "There are no such jobs", "Leave out the ids in `missing`."
    ),
    agents.DependencyCycle: Problem(
        "dependency_cycle", 409, "Jobs would wait for each other", "Drop one of the dependencies along `cycle`."
    ),
    agents.JobMoveRefused: Problem(
        "job_move_refused", 409, "The job's state does not allow that", "Look at its `status` and decide again."
    ),
    agents.JobInUse: Problem("job_in_use", 409, "The job was worked on, or others wait for it", "Cancel it instead."),
    agents.InvalidTime: Problem(
        "invalid_time", 422, "What was asked of a time entry makes no sense", "Mend the field named in `field`."
    ),
    agents.TimeOverlap: Problem(
        "time_overlap", 409, "The worker has another entry at that time", "Stop the other clock, or choose other times."
    ),
    agents.TimeMoveRefused: Problem(
        "time_move_refused", 409, "The clock's state does not allow that", "Look at its `status` and decide again."
    ),
    outbox.BrokerUnavailable: Problem("broker_unavailable", 503, "The broker does not answer", "Try again."),
}


def problem_of(error: Exception) -> Problem | None:
    """Return the problem that a domain error is, or None when it is a fault of ours."""
    return next((DOMAIN_PROBLEMS[kind] for kind in type(error).__mro__ if kind in DOMAIN_PROBLEMS), None)


def all_problems() -> list[Problem]:
    """Return every kind of problem, by status and code."""
    found = {problem.code: problem for problem in (*HTTP_PROBLEMS.values(), VALIDATION, *DOMAIN_PROBLEMS.values())}
    return sorted(found.values(), key=lambda problem: (problem.status, problem.code))
