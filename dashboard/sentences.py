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


def _fields_changed(data: Data) -> str:
    fields = data.get("fields") or data.get("changed") or ["settings"]
    return f"has new {', '.join(map(str, fields))}".replace("_", " ")


def _job_changed(data: Data) -> str:
    if data.get("fields") == ["decision"]:
        return "asks what to do" if data.get("decision") else "has its decision"
    return _fields_changed(data)


def _answered(data: Data) -> str:
    by = f"by the rule {data['rule']}" if data.get("rule") else f"by {data.get('actor') or 'somebody'}"
    return f"was {data.get('state')} {by}: {data.get('wants', '')}"[:160]


def _clock(deed: str) -> Callable[[Data], str]:
    return lambda data: f"{deed}{' of ' + data['job_id'] if data.get('job_id') else ''}"


def _todo(deed: str) -> Callable[[Data], str]:
    return lambda data: f"{deed}: {data.get('title', '')}"[:160]


def _dispatched(data: Data) -> str:
    return "gives out its jobs by itself" if data.get("enabled") else "leaves its jobs to be given out by hand"


def _imported(data: Data) -> str:
    new, updated = (sum(int(n) for n in dict(data.get(name) or {}).values()) for name in ("new", "updated"))
    amiss = f", {data['complaints']} of its lines not understood" if data.get("complaints") else ""
    return f"was imported: {new} new, {updated} updated{amiss}"


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
    "limit.cleared": lambda data: "may be used again",
    "operation.started": lambda data: f"began on {data.get('total')}",
    "operation.progress": lambda data: f"{_handled(data)} of {data.get('total')}",
    "operation.finished": lambda data: f"is {data.get('status')}: {_handled(data)} of {data.get('total')}",
    **{f"agent.{status}": _arrived for status in AgentStatus},
    "agent.completed": lambda data: "has finished its job",
    "agent.changed": _fields_changed,
    "agent.deleted": lambda data: "was deleted",
    "agent.thought": lambda data: f"thinks: {data.get('text', '')}"[:160],
    **{f"job.{status}": _arrived for status in JobStatus},
    "job.in_progress": lambda data: f"is being worked on by {data.get('worker') or 'somebody'}",
    "job.changed": _job_changed,
    "job.deleted": lambda data: "was deleted",
    "todo.pending": _todo("has something to do"),
    "todo.in_progress": _todo("is at"),
    "todo.completed": _todo("has done"),
    "todo.deleted": _todo("has nothing to do any more about"),
    "time.started": _clock("started the clock"),
    "time.paused": _clock("paused the clock"),
    "time.resumed": _clock("went on with the clock"),
    "time.stopped": _clock("stopped the clock"),
    "time.entered": _clock("entered hours"),
    "personality.changed": lambda data: f"is a role in version {data.get('version')} now",
    "dispatch.changed": _dispatched,
    "workforce.imported": _imported,
    "project.created": lambda data: "is a project now",
    "project.changed": _fields_changed,
    "project.archived": lambda data: "was archived",
    "node.draining": lambda data: "takes no new runners",
    "node.undrained": lambda data: "takes runners again",
    "webhook.disabled": lambda data: f"was switched off as a webhook{_because(data)}",
    "webhook.ping": lambda data: "was tried out as a webhook",
    "system.alert": lambda data: str(data.get("detail", ""))[:160],
    "session.created": lambda data: f"began a {data.get('backend', '')} session".replace("  ", " "),
    "session.resumed": lambda data: "goes on with an earlier session",
}
