"""Keep what a runner's program is about: it works, waits, wants a permission, or must wait for its provider."""

from collections.abc import Iterable, Mapping
from typing import Any

from runners.backends.base import Fact, StateFact
from runners.models import Observation
from runners.states import Activity

COLUMNS = ("activity", "activity_until", "activity_note", "activity_at")


def note_activity(observation: Observation, record: Mapping[str, Any], facts: Iterable[Fact]) -> None:
    """Set the activity on `observation` (the caller saves it) as one telemetry record and its facts say.

    A process that has ended does nothing any more; that its provider refused it until a time stays known.
    """
    kind = record.get("kind")
    if kind == "started" or (kind == "exit" and observation.activity != Activity.RATE_LIMITED):
        _set(observation, Activity.UNKNOWN)
    for fact in facts:
        if isinstance(fact, StateFact):
            _set(observation, fact.activity, until=fact.until, note=fact.note[:200], at=fact.at)


def _set(observation: Observation, activity: Activity, *, until: Any = None, note: str = "", at: Any = None) -> None:
    observation.activity, observation.activity_until = activity, until
    observation.activity_note, observation.activity_at = note, at
