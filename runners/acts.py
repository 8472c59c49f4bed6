"""Acts on runners, projects and nodes, as the audit log names them."""

from collections.abc import Mapping
from typing import Any

from outbox.services import record_act
from runners.models import Node, Project, Runner, Transcript

Facts = Mapping[str, Any] | None


def on_runner(
    verb: str, runner: Runner, *, actor: str, before: Facts = None, after: Facts = None, reason: str = ""
) -> None:
    """Record `runner.<verb>`."""
    record_act(
        f"runner.{verb}",
        actor=actor,
        target_type="runner",
        target_id=runner.pk,
        target_name=runner.name,
        before=before,
        after=after,
        reason=reason,
    )


def on_project(verb: str, project: Project, *, actor: str, before: Facts = None, after: Facts = None) -> None:
    """Record `project.<verb>`."""
    record_act(
        f"project.{verb}",
        actor=actor,
        target_type="project",
        target_id=project.name,
        target_name=project.name,
        before=before,
        after=after,
    )


def on_node(verb: str, node: Node, *, actor: str, before: Facts = None, after: Facts = None) -> None:
    """Record `node.<verb>`."""
    record_act(
        f"node.{verb}",
        actor=actor,
        target_type="node",
        target_id=node.name,
        target_name=node.name,
        before=before,
        after=after,
    )


def launched(runner: Runner, *, actor: str) -> None:
    """Record a launch, with what was asked for. Of the environment only the names are kept."""
    asked = (
        "backend",
        "runtime",
        "argv",
        "model",
        "flags",
        "environment",
        "workspace",
        "labels",
        "limits",
        "restart_policy",
    )
    given = {name: value for name in asked if (value := getattr(runner, name))}
    node = runner.node.name if runner.node else None
    if (runner.session is not None and runner.session.began != "new") or runner.conversation_mode != "new":
        given |= {"session": str(runner.session_id), "conversation": runner.conversation_mode}
    on_runner("launch", runner, actor=actor, after={**given, "project": runner.project.name, "node": node})


def on_transcript_removed(transcript: Transcript, *, days: int | None) -> None:
    """Record `transcript.remove`."""
    record_act(
        "transcript.remove",
        actor="system:retention",
        target_type="runner",
        target_id=transcript.runner_id,
        target_name=transcript.runner.name,
        before={"attempt": transcript.generation, "kind": transcript.kind, "size_bytes": transcript.size_bytes},
        reason=f"kept for {days} days" if days is not None else "",
    )


def stale(runner: Runner, generation: int, *, what: str) -> None:
    """Record that a message of an older attempt was refused."""
    on_runner(
        "refuse_stale",
        runner,
        actor="system:node",
        before={"generation": generation},
        after={"generation": runner.generation},
        reason=what,
    )
