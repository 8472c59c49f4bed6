"""The events that approvals publish. The only place that spells them."""

from outbox.registry import register
from outbox.services import publish
from outbox.states import Severity
from runners.models import Approval
from runners.states import ApprovalState as S

REQUESTED = "approval.requested"
#: The event of each end.
ENDS = {
    S.ALLOWED: "approval.decided",
    S.DENIED: "approval.decided",
    S.EXPIRED: "approval.expired",
    S.WITHDRAWN: "approval.withdrawn",
}
_DATA = {
    "approval_id": "uuid",
    "runner_id": "uuid",
    "name": "string",
    "project": "string",
    "agent": "string",
    "session_id": "uuid?",
    "generation": "integer",
    "tool": "string",
    "wants": "string",
    "state": "string",
    "reason": "string",
    "expires_at": "time",
    "rule": "string",
    "actor": "string",
}


def register_types() -> None:
    """Tell the outbox which events there are; called once, when the app is ready."""
    register(
        REQUESTED,
        description="A program asks whether it may use a tool, and waits; `reason` says what it wants.",
        data=_DATA,
        severity=Severity.WARNING,
    )
    register(
        "approval.decided",
        description="What a program asked for was allowed or denied, by a person (`actor`) or by a rule (`rule`).",
        data=_DATA,
    )
    register(
        "approval.expired",
        description="Nobody answered in time: the program was told no.",
        data=_DATA,
        severity=Severity.WARNING,
    )
    register(
        "approval.withdrawn", description="The program does not ask any more: it took it back, or ended.", data=_DATA
    )


def approval_moved(approval: Approval) -> None:
    """Publish where a question stands; wants its runner with its project loaded."""
    runner = approval.runner
    state = S(approval.state)
    name = REQUESTED if state == S.WAITING else ENDS[state]
    publish(
        name,
        aggregate=runner.aggregate,
        subject=str(approval.pk),
        routing_key=f"{name}.{runner.project.name}",
        data={
            "approval_id": str(approval.pk),
            "runner_id": str(runner.pk),
            "name": runner.name,
            "project": runner.project.name,
            "agent": runner.agent_name,
            "session_id": str(approval.session_id) if approval.session_id else None,
            "generation": approval.generation,
            "tool": approval.tool_name,
            "wants": approval.wants,
            "state": state.value,
            "reason": f"wants {approval.wants}" if state == S.WAITING else approval.message[:200],
            "expires_at": approval.expires_at.isoformat(),
            "rule": approval.rule_text,
            "actor": approval.decided_by,
        },
    )
