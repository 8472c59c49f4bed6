"""Acts on agents and personalities, as the audit log names them."""

from collections.abc import Mapping
from typing import Any

from agents.models import Agent, Personality
from outbox.services import record_act

Facts = Mapping[str, Any] | None


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
