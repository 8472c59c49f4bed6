from agents.models.agent import Agent, AgentMove, Thought
from agents.models.assignment import Assignment
from agents.models.dispatch import DispatchSettings
from agents.models.job import Comment, Deliverable, Dependency, Job, JobDay, JobMove
from agents.models.personality import Personality, PersonalityVersion
from agents.models.time_entry import TimeEntry
from agents.models.todo import Todo

__all__ = [
    "Agent",
    "AgentMove",
    "Assignment",
    "Comment",
    "Deliverable",
    "Dependency",
    "DispatchSettings",
    "Job",
    "JobDay",
    "JobMove",
    "Personality",
    "PersonalityVersion",
    "Thought",
    "TimeEntry",
    "Todo",
]
