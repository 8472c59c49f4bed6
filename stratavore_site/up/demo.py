"""Something to look at on the first day: a small repository, a runner in it, and a board that works itself off."""

import os
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import transaction

from agents.models import Agent
from agents.services import create_agent, create_job, set_dispatch
from agents.states import Priority
from runners.backends.base import LaunchRequest
from runners.models import Project, Runner
from runners.services import launch_runner
from runners.services.budgets import create_budget
from runners.services.projects import create_project
from runners.states import BudgetAction, BudgetScope, BudgetUnit, Period

ACTOR = "system:up"
DEMO = "demo"
DEMO_PROMPT = "Look around in this repository and improve its greeting."
#: Files of the demo project; a scripted agent has something to read and to change.
DEMO_FILES = {
    "README.md": "# Demo\n\nA small repository for Stratavore's demo runner. Change what you like.\n",
    "greeting.py": 'def greeting(name: str) -> str:\n    return f"Hello, {name}!"\n\n\nprint(greeting("world"))\n',
}
CREW = ("researcher", "senior", "cadet")


class Task(NamedTuple):
    """A job of the demo board; `after` are the places of those it waits for."""

    title: str
    description: str
    priority: Priority
    after: tuple[int, ...] = ()


BOARD = (
    Task("Find out what is here", "Read the files and write down what they do.", Priority.HIGH),
    Task("Decide how we greet", "One wording for everybody; short and friendly.", Priority.HIGH, (0,)),
    Task("Write tests for the greeting", "Names with accents and no name at all.", Priority.MEDIUM, (0,)),
    Task("Greet in three languages", "English, German and French.", Priority.MEDIUM, (1, 2)),
    Task("Greet those without a name", "Nobody is greeted as None.", Priority.CRITICAL, (1,)),
    Task("Measure how long a greeting takes", "A thousand greetings, the median of five runs.", Priority.LOW, (3,)),
    Task("Explain it in the README", "What it does and how it is called, with an example.", Priority.MEDIUM, (3, 4)),
    Task("Make it version 1.0", "Say what changed since the beginning.", Priority.HIGH, (5, 6)),
)


def see_to_demo_project() -> None:
    """Make a small git repository and a project over it, unless there is one."""
    if Project.objects.filter(name=DEMO).exists():
        return
    directory = Path(settings.WORKSPACE_ROOTS[0]) / DEMO
    make_repository(directory)
    create_project(name=DEMO, path=str(directory), description="A small repository to try things on.", actor=ACTOR)


def make_repository(directory: Path) -> None:
    """Make the demo repository with one commit; without git, a plain directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in DEMO_FILES.items():
        (directory / name).write_text(text)
    identity = {"GIT_AUTHOR_NAME": "Stratavore", "GIT_AUTHOR_EMAIL": "demo@localhost"}
    committer = {key.replace("AUTHOR", "COMMITTER"): value for key, value in identity.items()}
    # The caller's own git settings (signing, hooks) have no business here.
    env = {**os.environ, **identity, **committer, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for words in (["init", "--quiet", "--initial-branch=main"], ["add", "."], ["commit", "--quiet", "-m", "Begin"]):
        try:
            subprocess.run(["git", *words], cwd=directory, env=env, check=True)
        except FileNotFoundError:
            return


@transaction.atomic
def begin_demo() -> None:
    """At the first start only: launch the demo runner, and let three agents take a board of jobs."""
    if Runner.objects.filter(project__name=DEMO).exists():
        return
    project = Project.objects.get(name=DEMO)
    launch_runner(DEMO, LaunchRequest(backend="demo", prompt=DEMO_PROMPT, name="demo"), actor=ACTOR)
    if not Agent.objects.filter(project=project).exists():
        fill_board(project)


def fill_board(project: Project) -> None:
    """Give the project three agents, jobs that wait for each other, a budget, and have the jobs taken by themselves."""
    for personality in CREW:
        create_agent(personality=personality, project=project.name, actor=ACTOR)
    jobs: list[str] = []
    for task in BOARD:
        job = create_job(
            title=task.title,
            description=task.description,
            priority=task.priority,
            project=project.name,
            dependencies=[jobs[place] for place in task.after],
            actor=ACTOR,
        )
        jobs.append(job.pk)
    create_budget(
        {
            "name": "Demo, a day",
            "scope": BudgetScope.PROJECT,
            "scope_key": project.name,
            "period": Period.DAILY,
            "unit": BudgetUnit.USD,
            "limit": Decimal(1),
            "action": BudgetAction.PAUSE,
        },
        actor=ACTOR,
    )
    # No real program, no key: whatever a personality names, here it is played by the scripted agent.
    set_dispatch(project, enabled=True, max_parallel=len(CREW), backend="demo", actor=ACTOR)
