"""Acts on agents, personalities and jobs, as the audit log names them."""

from collections.abc import Mapping
from typing import Any

from agents.models import Agent, DispatchSettings, Job, Personality
from outbox.services import record_act

Facts = Mapping[str, Any] | None
#: How actors begin that are no people.
BY_ITSELF = "system:"


def on_agent(verb: str, agent: Agent, *, actor: str, before: Facts = None, after: Facts = None) -> None:
    """Record `agent.<verb>`."""
    record_act(
        f"agent.{verb}",
        actor=actor,
        target_type="agent",
        target_id=agent.name,
        target_name=agent.name,
        before=before,
        after=after,
    )


def on_personality(
    verb: str, personality: Personality, *, actor: str, before: Facts = None, after: Facts = None
) -> None:
    """Record `personality.<verb>`."""
    record_act(
        f"personality.{verb}",
        actor=actor,
        target_type="personality",
        target_id=personality.name,
        target_name=personality.name,
        before=before,
        after=after,
    )


def on_job(verb: str, job: Job, *, actor: str, before: Facts = None, after: Facts = None, reason: str = "") -> None:
    """Record `job.<verb>`, if somebody did it; what happens by itself is in the job's history and the stream."""
    if actor.startswith(BY_ITSELF):
        return
    record_act(
        f"job.{verb}",
        actor=actor,
        target_type="job",
        target_id=job.pk,
        target_name=job.title,
        before=before,
        after=after,
        reason=reason,
    )


def on_dispatch(dispatch: DispatchSettings, *, actor: str, before: Facts, after: Facts) -> None:
    """Record `dispatch.change`."""
    project = dispatch.project.name
    record_act(
        "dispatch.change",
        actor=actor,
        target_type="project",
        target_id=project,
        target_name=project,
        before=before,
        after=after,
    )
