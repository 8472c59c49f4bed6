"""Acts of people in the audit log. What Stratavore does by itself is in the histories and the event stream."""

from collections.abc import Mapping
from typing import Any

from agents.models import Agent, DispatchSettings, Job, Personality
from outbox.services import record_act

Facts = Mapping[str, Any]
SYSTEM = "system:"


def agent_act(
    action: str, agent: Agent, *, actor: str, before: Facts | None = None, after: Facts | None = None
) -> None:
    """Record what somebody did with an agent: "agent.kill"."""
    _record(action, actor, "agent", agent.pk, agent.name, before, after)


def job_act(
    action: str,
    job: Job,
    *,
    actor: str,
    before: Facts | None = None,
    after: Facts | None = None,
    reason: str = "",
) -> None:
    """Record what somebody did with a job: "job.cancel"."""
    _record(action, actor, "job", job.pk, job.title, before, after, reason)


def personality_act(
    action: str, personality: Personality, *, actor: str, before: Facts | None, after: Facts | None
) -> None:
    """Record that somebody added, changed or deleted a role."""
    _record(action, actor, "personality", personality.pk, personality.name, before, after)


def dispatch_act(dispatch: DispatchSettings, *, actor: str, before: Facts, after: Facts) -> None:
    """Record that somebody set how a project's jobs are given out."""
    _record("dispatch.change", actor, "project", dispatch.pk, dispatch.project.name, before, after)


def _record(
    action: str,
    actor: str,
    target_type: str,
    target_id: object,
    target_name: str,
    before: Facts | None,
    after: Facts | None,
    reason: str = "",
) -> None:
    if actor.startswith(SYSTEM):
        return
    record_act(
        action,
        actor=actor,
        target_type=target_type,
        target_id=target_id,
        target_name=target_name,
        before=before,
        after=after,
        reason=reason,
    )
