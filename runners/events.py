"""The events that runners publish: type, routing key, data. The only place that spells them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from outbox.registry import register
from outbox.services import publish
from outbox.states import Severity
from runners.models import Node, Operation, Project, Runner, Session, Worktree
from runners.states import RunnerStatus as S

if TYPE_CHECKING:
    from runners.services.worktrees.collect import Found

#: The event of each arrival. Names are the stream's own: readers know runner.started, runner.stopped, runner.failed.
ARRIVALS = {
    S.QUEUED: "runner.queued",
    S.STARTING: "runner.starting",
    S.RUNNING: "runner.started",
    S.PAUSED: "runner.paused",
    S.STOPPING: "runner.stopping",
    S.TERMINATED: "runner.stopped",
    S.FAILED: "runner.failed",
    S.UNKNOWN: "runner.unknown",
}
RESUMED = "runner.resumed"
#: Of a runner that has ended; its restart policy may start it again.
ENDS = frozenset({ARRIVALS[S.TERMINATED], ARRIVALS[S.FAILED]})
FENCED = "runner.fenced"

_RUNNER_DATA = {
    "runner_id": "uuid",
    "name": "string",
    "project": "string",
    "node": "string?",
    "backend": "string",
    "status": "string",
    "from": "string",
    "generation": "integer",
    "reason": "string",
    "exit_code": "integer?",
    "actor": "string",
}
_WORKTREE_DATA = {
    "runner_id": "uuid",
    "name": "string",
    "project": "string",
    "branch": "string",
    "state": "string",
    "note": "string",
    "files": "integer?",
    "insertions": "integer?",
    "deletions": "integer?",
    "actor": "string",
}
_FENCED_DATA = {
    "runner_id": "uuid",
    "name": "string",
    "project": "string",
    "node": "string",
    "status": "string",
    "generation": "integer",
    "fenced_generation": "integer",
}
_OPERATION_DATA = {
    "operation_id": "uuid",
    "verb": "string",
    "status": "string",
    "total": "integer",
    "done": "integer",
    "failed": "integer",
    "skipped": "integer",
    "actor": "string",
}
_PROJECT_DATA = {"project": "string", "path": "string", "changed": "strings", "actor": "string"}
_NODE_DATA = {"node": "string", "status": "string", "actor": "string"}
_SESSION_DATA = {"session_id": "uuid", "runner_id": "uuid", "project": "string", "backend": "string"}

_DESCRIPTIONS = {
    "runner.queued": "A runner waits for a place.",
    "runner.starting": "A runner was accepted; its process is being started.",
    "runner.started": "The runner's process runs.",
    "runner.resumed": "A paused or unknown runner runs again.",
    "runner.paused": "The runner's processes are suspended.",
    "runner.stopping": "The runner was asked to end.",
    "runner.stopped": "The runner ended as it should.",
    "runner.failed": "The runner ended in failure, or was lost.",
    "runner.unknown": "The runner's node is silent: what its process does is not known.",
}


_TROUBLE = frozenset({"runner.failed", "runner.unknown"})


def register_types() -> None:
    """Tell the outbox which events there are; called once, when the app is ready."""
    for name, description in _DESCRIPTIONS.items():
        severity = Severity.WARNING if name in _TROUBLE else Severity.INFO
        register(name, description=description, data=_RUNNER_DATA, severity=severity)
    register(
        "worktree.changed",
        description="A runner's attempt ended, and its worktree is kept, merged, removed or in use by the next.",
        data=_WORKTREE_DATA,
    )
    register(
        FENCED,
        description="A node that was lost is back with an older attempt of the runner, which is being stopped.",
        data=_FENCED_DATA,
    )
    register("operation.started", description="An operation over many items began.", data=_OPERATION_DATA)
    register("operation.progress", description="How far an operation is; at most twice a second.", data=_OPERATION_DATA)
    register("operation.finished", description="An operation is done or was cancelled.", data=_OPERATION_DATA)
    register("project.created", description="A project was made.", data=_PROJECT_DATA)
    register("project.changed", description="A project's settings, limits or quota were changed.", data=_PROJECT_DATA)
    register("project.archived", description="A project was archived: nothing starts in it.", data=_PROJECT_DATA)
    register("node.draining", description="A node takes no new runners.", data=_NODE_DATA)
    register("node.undrained", description="A draining node may take runners again.", data=_NODE_DATA)
    register("session.created", description="A conversation began.", data=_SESSION_DATA)
    register("session.resumed", description="A runner goes on with an earlier conversation.", data=_SESSION_DATA)


def runner_moved(runner: Runner, start: str, *, actor: str) -> None:
    """Publish that `runner` came from `start` to its present status."""
    status = S(runner.status)
    name = RESUMED if status == S.RUNNING and start in {S.PAUSED, S.UNKNOWN} else ARRIVALS[status]
    data = {
        "runner_id": str(runner.pk),
        "name": runner.name,
        "project": runner.project.name,
        "node": runner.node.name if runner.node else None,
        "backend": runner.backend,
        "status": status.value,
        "from": start,
        "generation": runner.generation,
        "reason": runner.reason,
        "exit_code": runner.exit_code,
        "actor": actor,
    }
    publish(
        name,
        aggregate=runner.aggregate,
        subject=str(runner.pk),
        routing_key=f"{name}.{runner.project.name}",
        data=data,
    )


def attempt_fenced(runner: Runner, generation: int, *, node: str) -> None:
    """Publish that `node` stops an older attempt of the runner."""
    publish(
        FENCED,
        aggregate=runner.aggregate,
        subject=str(runner.pk),
        routing_key=f"{FENCED}.{runner.project.name}",
        data={
            "runner_id": str(runner.pk),
            "name": runner.name,
            "project": runner.project.name,
            "node": node,
            "status": runner.status,
            "generation": runner.generation,
            "fenced_generation": generation,
        },
    )


def session_opened(session: Session, runner: Runner, *, resumed: bool) -> None:
    """Publish that a conversation began, or goes on in a new runner."""
    name = "session.resumed" if resumed else "session.created"
    data: dict[str, Any] = {
        "session_id": str(session.pk),
        "runner_id": str(runner.pk),
        "project": runner.project.name,
        "backend": runner.backend,
    }
    # Routing keys as integrators of the original know them: created by project, resumed by session.
    topic = session.pk if resumed else runner.project.name
    publish(name, aggregate=runner.aggregate, subject=str(session.pk), routing_key=f"{name}.{topic}", data=data)


def worktree_changed(runner: Runner, worktree: Worktree, found: "Found | None") -> None:
    """Publish what became of a worktree; `found` is None where its changes could not be read."""
    data = {
        "runner_id": str(runner.pk),
        "name": runner.name,
        "project": runner.project.name,
        "branch": worktree.branch,
        "state": worktree.state,
        "note": worktree.note,
        "files": found.file_count if found else None,
        "insertions": found.insertions if found else None,
        "deletions": found.deletions if found else None,
        "actor": worktree.wanted_by or "system:node",
    }
    publish(
        "worktree.changed",
        aggregate=runner.aggregate,
        subject=str(runner.pk),
        routing_key=f"worktree.changed.{runner.project.name}",
        data=data,
    )


def project_event(name: str, project: Project, *, actor: str, changed: Iterable[str] = ()) -> None:
    """Publish that a project was made, changed (in these fields) or archived."""
    publish(
        name,
        aggregate=f"project:{project.name}",
        subject=project.name,
        routing_key=f"{name}.{project.name}",
        data={"project": project.name, "path": project.path, "changed": list(changed), "actor": actor},
    )


def node_event(name: str, node: Node, *, status: str, actor: str) -> None:
    """Publish that somebody took a node out of service, or back in."""
    publish(
        name,
        aggregate=f"node:{node.name}",
        subject=node.name,
        routing_key=f"{name}.{node.name}",
        data={"node": node.name, "status": str(status), "actor": actor},
    )


def operation_moved(name: str, operation: Operation) -> None:
    """Publish how far an operation is."""
    data = {
        "operation_id": str(operation.pk),
        "verb": operation.verb,
        "status": operation.status,
        "total": operation.total,
        "done": operation.done,
        "failed": operation.failed,
        "skipped": operation.skipped,
        "actor": operation.actor,
    }
    publish(
        name,
        aggregate=operation.aggregate,
        subject=str(operation.pk),
        routing_key=f"{name}.{operation.verb}",
        data=data,
    )
