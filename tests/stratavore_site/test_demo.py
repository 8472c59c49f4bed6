"""What a newcomer sees first: a runner at work, and a board that works itself off."""

from importlib import import_module
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

from agents.models import Agent, Assignment, Job
from agents.states import AgentStatus, JobStatus
from runners.models import Budget, Project, Runner, Session
from runners.states import RunnerStatus
from stratavore_site.up.demo import BOARD, CREW, begin_demo, see_to_demo_project
from tests.runners.factories import make_node
from tests.stack import Stack, wait_until

#: Eight jobs of 20 s, four deep, on a machine that does other things too.
STORY_SECONDS = 300.0


@pytest.mark.django_db
def test_the_demo_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "WORKSPACE_ROOTS", [tmp_path])
    make_node()
    for _ in range(2):
        see_to_demo_project()
        begin_demo()
    assert Runner.objects.get().name == "demo"
    assert sorted(Agent.objects.values_list("personality__name", flat=True)) == sorted(CREW)
    assert Job.objects.count() == len(BOARD)
    assert Budget.objects.get().scope_key == Project.objects.get().name
    assert Job.objects.get(title="Find out what is here").status == JobStatus.PENDING
    assert Job.objects.get(title="Make it version 1.0").status == JobStatus.BLOCKED


@pytest.mark.soak
def test_the_demo_board_works_itself_off(stack: Stack) -> None:
    # Tests before this one may have emptied the table.
    import_module("agents.migrations.0002_personalities").seed(apps, None)
    see_to_demo_project()
    begin_demo()
    finished = {JobStatus.COMPLETED}
    wait_until(lambda: set(Job.objects.values_list("status", flat=True)) == finished, "all is done", STORY_SECONDS)
    wait_until(lambda: not Agent.objects.exclude(status=AgentStatus.IDLE).exists(), "all agents are idle")
    assert Assignment.objects.count() == len(BOARD)
    assert set(Runner.objects.values_list("status", flat=True)) == {RunnerStatus.TERMINATED}
    # A session is named after its job, not after the role that its prompt begins with.
    assert {task.title for task in BOARD} <= set(Session.objects.values_list("title", flat=True))
