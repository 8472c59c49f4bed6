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


class PersonalityInUse(AgentError):
    """Agents have this personality, so it cannot go; `agents` tells how many."""
