from runners.models.node import Node
from runners.models.price import ModelPrice
from runners.models.project import Project, ResourceQuota
from runners.models.runner import Attempt, Observation, Runner, RunnerMove
from runners.models.session import Message, Session
from runners.models.usage import UsageEntry

__all__ = [
    "Attempt",
    "Message",
    "ModelPrice",
    "Node",
    "Observation",
    "Project",
    "ResourceQuota",
    "Runner",
    "RunnerMove",
    "Session",
    "UsageEntry",
]
