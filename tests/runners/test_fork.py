"""Resume and fork: only what the program can do, and a fork is a session of its own."""

import pytest

from runners.backends.base import LaunchRequest
from runners.exceptions import InvalidRequest
from runners.models import Observation, Project, Session
from runners.services import launch_runner
from tests.runners.factories import make_node, make_project
from tests.runners.teller import teller as teller


def known_session(project: Project, **fields: str) -> Session:
    return Session.objects.create(project=project, **{"backend": "teller", "external_id": "thread-1", **fields})


@pytest.mark.django_db
@pytest.mark.parametrize("mode", ["resume", "continue", "fork"])
def test_a_program_that_cannot_go_on_with_a_session_is_not_asked_to(mode: str) -> None:
    project = make_project()
    make_node()
    session = known_session(project, backend="command")
    request = LaunchRequest(backend="command", argv=["true"], conversation_mode=mode, session_id=str(session.pk))
    with pytest.raises(InvalidRequest) as refusal:
        launch_runner(project.name, request, actor="user:ada")
    assert refusal.value.facts["field"] == "conversation_mode"
    assert not project.runners.exists()


@pytest.mark.django_db
def test_a_fork_is_a_session_of_its_own_that_names_its_origin() -> None:
    project = make_project()
    make_node()
    origin = known_session(project)
    request = LaunchRequest(backend="teller", prompt="Else", conversation_mode="fork", session_id=str(origin.pk))
    runner = launch_runner(project.name, request, actor="user:ada")
    assert runner.session is not None
    assert runner.session != origin
    assert (runner.session.resumed_from, runner.session.title, runner.session.external_id) == (origin, "Else", "")


@pytest.mark.django_db
def test_a_fork_begins_with_the_running_totals_of_its_origin() -> None:
    project = make_project()
    make_node()
    origin = known_session(project)
    resume = LaunchRequest(backend="teller", conversation_mode="resume", session_id=str(origin.pk))
    first = launch_runner(project.name, resume, actor="user:ada")
    totals = {"conversation": "thread-1", "cost": None, "lost": False, "models": {"": {"tokens": [5, 0, 0, 0]}}}
    Observation.objects.filter(runner=first).update(parser_state={"totals": totals, "attempt": "1.2"})

    fork = LaunchRequest(backend="teller", conversation_mode="fork", session_id=str(origin.pk))
    copy = launch_runner(project.name, fork, actor="user:ada")
    assert Observation.objects.get(runner=copy).parser_state == {"totals": {**totals, "conversation": None}}


@pytest.mark.django_db
def test_a_session_whose_program_told_no_id_cannot_be_forked() -> None:
    project = make_project()
    make_node()
    origin = known_session(project, external_id="")
    request = LaunchRequest(backend="teller", conversation_mode="fork", session_id=str(origin.pk))
    with pytest.raises(InvalidRequest, match="Nothing was said"):
        launch_runner(project.name, request, actor="user:ada")
    assert Session.objects.count() == 1
