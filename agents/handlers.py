"""What the agents hear of the stream: the settings name these. Each may be called twice for an event."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from agents.services.runs import at_work, runner_ended, runner_steered
from agents.wakes import dispatch_soon
from outbox import trace
from outbox.envelope import Outgoing
from runners.events import ENDS


def on_runners_ended(events: Sequence[Outgoing]) -> None:
    """Land the jobs of runners; and wherever one ended, there is a place for another."""
    ended = {UUID(event.payload["runner_id"]): event for event in events if event.type in ENDS}
    if not ended:
        return
    # Most runners are no agent's: one question for all of them.
    for runner_id in at_work(ended):
        with transaction.atomic(), trace.following(ended[runner_id].traceparent):
            runner_ended(runner_id)
    with transaction.atomic(), trace.following([*ended.values()][-1].traceparent):
        dispatch_soon()


def on_runner_steered(event: Outgoing) -> None:
    """Keep the agent in step with its runner's pauses."""
    runner_steered(UUID(event.payload["runner_id"]))
