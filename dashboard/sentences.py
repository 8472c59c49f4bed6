"""Events as short sentences about their subject: "demo-3f9c | is running on node-a"."""

from collections.abc import Callable, Mapping
from typing import Any

from agents.states import AgentStatus, JobStatus

Data = Mapping[str, Any]


def sentence(event_type: str, data: Data) -> str:
    """Return what happened, without its subject. A type nobody described is shown by its name."""
    tell = _SENTENCES.get(event_type)
    return tell(data) if tell else event_type.replace(".", " ").replace("_", " ")


def _because(data: Data) -> str:
    return f": {data['reason']}" if data.get("reason") else ""


def _starting(data: Data) -> str:
    attempt = data.get("generation") or 1
    return f"is starting on {data.get('node') or 'a node'}" + (f", attempt {attempt}" if attempt > 1 else "")


def _ended(data: Data) -> str:
    code = data.get("exit_code")
    return f"ended{_because(data)}" if code is None else f"ended with exit code {code}"


def _worktree(data: Data) -> str:
    changed = f", {data['files']} files changed" if data.get("files") is not None else ""
    note = f": {data['note']}" if data.get("note") else ""
    return f"has its worktree {data.get('state') or 'changed'}{changed}{note}"


def _amount(data: Data, name: str) -> str:
    """Return what the data call a decimal, in the budget's unit."""
    return f"{data.get(name)} tokens" if data.get("unit") == "tokens" else f"${data.get(name)}"


def _handled(data: Data) -> int:
    return sum(int(data.get(name) or 0) for name in ("done", "failed", "skipped"))


def _arrived(data: Data) -> str:
    status = str(data.get("status") or "").replace("_", " ")
    return f"is {'in error' if status == 'error' else status}{_because(data)}"


def _job_changed(data: Data) -> str:
    fields = [str(each) for each in data.get("fields") or []]
    if fields == ["decision"]:
        return "asks what to do" if data.get("decision") else "has its decision"
    return f"has new {', '.join(fields)}".replace("_", " ")


def _answered(data: Data) -> str:
    by = f"by the rule {data['rule']}" if data.get("rule") else f"by {data.get('actor') or 'somebody'}"
    return f"was {data.get('state')} {by}: {data.get('wants', '')}"[:160]


_SENTENCES: dict[str, Callable[[Data], str]] = {
    "runner.queued": lambda data: "waits for a place",
    "runner.starting": _starting,
    "runner.started": lambda data: f"runs on {data.get('node') or 'a node'}",
    "runner.resumed": lambda data: "runs again",
    "runner.paused": lambda data: "is paused",
    "runner.stopping": lambda data: f"is stopping{_because(data)}",
    "runner.stopped": _ended,
    "runner.failed": lambda data: f"failed{_because(data)}",
    "runner.unknown": lambda data: f"is out of sight{_because(data)}",
    "worktree.changed": _worktree,
    "runner.fenced": lambda data: (
        f"has attempt {data.get('fenced_generation')} fenced on {data.get('node') or 'a node'}, which is back"
    ),
    "budget.warning": lambda data: f"is at {data.get('percent')} % of {_amount(data, 'limit')}",
    "budget.spent": lambda data: f"is spent: {_amount(data, 'used')} of {_amount(data, 'limit')}",
    "budget.raised": lambda data: f"was raised by {_amount(data, 'amount')}{_because(data)}",
    "approval.requested": lambda data: f"asks: {data.get('wants', '')}"[:160],
    "approval.decided": _answered,
    "approval.expired": lambda data: f"was not answered in time: {data.get('wants', '')}"[:160],
    "approval.withdrawn": lambda data: f"asks no more: {data.get('wants', '')}"[:160],
    "limit.reached": lambda data: f"must wait for its provider: {data.get('reason', '')}",
    "limit.cleared": lambda data: f"may go on with {data.get('label', '')}",
    "operation.started": lambda data: f"began on {data.get('total')}",
    "operation.progress": lambda data: f"{_handled(data)} of {data.get('total')}",
    "operation.finished": lambda data: f"is {data.get('status')}: {_handled(data)} of {data.get('total')}",
    **{f"agent.{status}": _arrived for status in AgentStatus},
    "agent.thought": lambda data: f"thinks: {data.get('text', '')}"[:160],
    **{f"job.{status}": _arrived for status in JobStatus},
    "job.in_progress": lambda data: f"is being worked on by {data.get('worker') or 'somebody'}",
    "job.changed": _job_changed,
    "session.created": lambda data: f"began a {data.get('backend', '')} session".replace("  ", " "),
    "session.resumed": lambda data: "goes on with an earlier session",
}
