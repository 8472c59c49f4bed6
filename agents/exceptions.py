"""Errors of the agents: each is a refusal, and says what the caller needs to mend it."""

from collections.abc import Mapping
from typing import Any


class AgentError(Exception):
    """Something about agents was refused."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts: Mapping[str, Any] = facts


class InvalidAgent(AgentError):
    """What was asked for makes no sense; `field` names the culprit."""


class AgentMoveRefused(AgentError):
    """The agent is not in a state from which this move is legal."""


class AgentInUse(AgentError):
    """The agent has a history, so it cannot be deleted."""


class PersonalityInUse(AgentError):
    """Agents have this personality, so it cannot go; `agents` tells how many."""


class InvalidImport(AgentError):
    """The files cannot be taken in at all; `field` names the culprit."""


class InvalidJob(AgentError):
    """What was asked for makes no sense for a job; `field` names the culprit."""


class JobMoveRefused(AgentError):
    """The job is not in a state from which this move is legal."""


class StaleEdit(AgentError):
    """Somebody else changed the same meanwhile; `now` tells each such field as it is now."""


class JobInUse(AgentError):
    """The job has a history or others depend on it, so it cannot be deleted."""


class MissingDependencies(InvalidJob):
    """Jobs that should be waited for do not exist; `missing` names them."""


class DependencyCycle(AgentError):
    """Jobs would wait for each other; `cycle` names them in order, the first again at the end."""


class InvalidTime(AgentError):
    """A time entry makes no sense; `field` names the culprit."""


class TimeOverlap(AgentError):
    """The worker has another entry at that time."""


class TimeMoveRefused(AgentError):
    """The time entry is not in a state that allows this."""
