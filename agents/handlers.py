"""What the agents hear of the stream: settings.OUTBOX_HANDLERS names these. Each may be called twice for an event."""

from uuid import UUID

from agents.services.runs import runner_ended, runner_steered
from agents.wakes import dispatch_soon
from outbox.envelope import Outgoing


def on_runner_ended(event: Outgoing) -> None:
    """Land the job of a runner; and wherever one ended, there is a place for another."""
    runner_ended(UUID(event.payload["runner_id"]))
    dispatch_soon()


def on_runner_steered(event: Outgoing) -> None:
    """Keep the agent in step with its runner's pauses."""
    runner_steered(UUID(event.payload["runner_id"]))
