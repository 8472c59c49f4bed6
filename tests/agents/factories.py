"""Rows for tests of agents and jobs, made by the services; a worker's program is a command that needs no node."""

import itertools
from typing import Any

from agents.models import Agent, Assignment, Job, Personality
from agents.services import assign_job, create_agent, create_job, save_personality
from runners.models import Project
from runners.states import RunnerStatus
from runners.transitions import move
from tests.runners.factories import make_node, make_project

ACTOR = "user:ada"
_numbers = itertools.count(1)


def make_personality(**fields: Any) -> Personality:
    """Make a role whose program is `true`."""
    defaults = {"description": "Runs a command.", "default_backend": "command", "argv": ["true"]}
    role = Personality(name=fields.pop("name", f"role-{next(_numbers)}"))
    return save_personality(role, {**defaults, **fields}, actor=ACTOR)


def make_agent(*, project: Project | None = None, role: Personality | None = None, **fields: Any) -> Agent:
    """Make an idle agent."""
    return create_agent(
        personality=(role or make_personality()).name,
        project=project.name if project else None,
        actor=ACTOR,
        **fields,
    )


def make_job(project: Project | None = None, **fields: Any) -> Job:
    """Make a job, in a project if one is given."""
    title = fields.pop("title", f"Job {next(_numbers)}")
    return create_job(title=title, actor=ACTOR, project=project.name if project else None, **fields)


def make_work(**fields: Any) -> Assignment:
    """Make an agent that works on a job on this machine's node, with a runner that is starting."""
    make_node()
    project = fields.pop("project", None) or make_project()
    job = fields.pop("job", None) or make_job(project, **fields)
    agent = make_agent(project=project)
    return assign_job(job.pk, agent.pk, actor=ACTOR)


def run_and_end(assignment: Assignment, status: str = "terminated", **changes: Any) -> None:
    """Let the runner of an assignment run and come to its end, as its node would report."""
    runner = assignment.runner
    assert runner is not None
    move(runner.pk, RunnerStatus.RUNNING, generation=runner.generation, actor="system:node")
    move(runner.pk, RunnerStatus(status), generation=runner.generation, actor="system:node", **changes)


def now_of(record: Any) -> Any:
    """Return a record as it is in the database now."""
    return type(record)._default_manager.get(pk=record.pk)
