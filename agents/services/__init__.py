"""The verbs of agents and jobs. Pages, API, admin and tasks all call these."""

from agents.services.agents import add_thought, change_agent
from agents.services.assign import assign_job, assign_person
from agents.services.dependencies import add_dependencies, drop_dependencies
from agents.services.dispatch import set_dispatch
from agents.services.edit import contents_of, edit_job
from agents.services.jobs import change_job, comment_on, create_job, delete_job, mark_deliverable, set_deliverables
from agents.services.land import cancel_job, complete_job, fail_job, release_job, retry_job, set_job_status
from agents.services.personalities import delete_personality, save_personality
from agents.services.spawn import create_agent, spawn_agents
from agents.services.steer import (
    delete_agent,
    kill_agent,
    pause_agent,
    resume_agent,
    retire_agent,
    revive_agent,
)
from agents.services.time import enter_time, pause_clock, resume_clock, start_clock, stop_clock
from agents.services.todos import change_todo, create_todo, delete_todo

__all__ = [
    "add_dependencies",
    "add_thought",
    "assign_job",
    "assign_person",
    "cancel_job",
    "change_agent",
    "change_job",
    "change_todo",
    "comment_on",
    "complete_job",
    "contents_of",
    "create_agent",
    "create_job",
    "create_todo",
    "delete_agent",
    "delete_job",
    "delete_personality",
    "delete_todo",
    "drop_dependencies",
    "edit_job",
    "enter_time",
    "fail_job",
    "kill_agent",
    "mark_deliverable",
    "pause_agent",
    "pause_clock",
    "release_job",
    "resume_agent",
    "resume_clock",
    "retire_agent",
    "retry_job",
    "revive_agent",
    "save_personality",
    "set_deliverables",
    "set_dispatch",
    "set_job_status",
    "spawn_agents",
    "start_clock",
    "stop_clock",
]
