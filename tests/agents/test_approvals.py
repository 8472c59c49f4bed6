"""What an agent may not do by itself is denied or asked for, as its role says, or whoever assigns."""

import pytest

from agents.exceptions import InvalidAgent
from agents.models import Agent, Assignment
from agents.services import assign_job, save_personality
from runners.exceptions import InvalidRequest
from tests.agents.factories import ACTOR, make_agent, make_job, make_personality
from tests.callers import operator
from tests.runners.factories import make_node, make_project

pytestmark = pytest.mark.django_db
PROGRAMS = {name: {"path": f"/bin/{name}", "version": "1"} for name in ("claude_code", "codex")}


@pytest.fixture
def asker() -> Agent:
    """An agent whose role asks, on a node that has its program and another, which cannot ask."""
    make_node(programs=PROGRAMS)
    role = make_personality(default_backend="claude_code", argv=[], approvals="ask")
    return make_agent(project=make_project(), role=role)


def approvals_of(assignment: Assignment) -> str:
    assert assignment.runner is not None
    return assignment.runner.approvals


def test_runs_of_a_role_that_asks_ask(asker: Agent) -> None:
    assignment = assign_job(make_job().pk, asker.pk, actor=ACTOR)
    assert approvals_of(assignment) == "ask"
    assert assignment.personality_version is not None
    assert assignment.personality_version.content["approvals"] == "ask"


def test_a_role_that_was_told_nothing_denies() -> None:
    make_node()
    assert approvals_of(assign_job(make_job(make_project()).pk, make_agent().pk, actor=ACTOR)) == "deny"


def test_whoever_assigns_may_say_otherwise_for_one_run(asker: Agent) -> None:
    assert approvals_of(assign_job(make_job().pk, asker.pk, actor=ACTOR, approvals="deny")) == "deny"


def test_with_a_program_that_cannot_ask_the_role_denies_and_who_insists_is_refused(asker: Agent) -> None:
    job = make_job()
    with pytest.raises(InvalidRequest, match="codex backend cannot ask") as refusal:
        assign_job(job.pk, asker.pk, actor=ACTOR, backend="codex", approvals="ask")
    assert refusal.value.facts["field"] == "approvals"
    assert approvals_of(assign_job(job.pk, asker.pk, actor=ACTOR, backend="codex")) == "deny"


def test_a_role_whose_program_cannot_ask_is_not_told_to() -> None:
    role = make_personality()
    with pytest.raises(InvalidAgent, match="cannot ask for approval") as refusal:
        save_personality(role, {"approvals": "ask"}, actor=ACTOR)
    assert refusal.value.facts["field"] == "approvals"


def test_the_api_takes_the_mode_of_a_role_and_of_one_run(asker: Agent) -> None:
    client, job = operator(), make_job()
    wanted = {"agent": asker.name, "approvals": "deny"}
    refused = client.post(f"/api/v1/jobs/{job.pk}/assign/", {**wanted, "approvals": "perhaps"}, format="json")
    assert refused.status_code == 400, refused.content
    assigned = client.post(f"/api/v1/jobs/{job.pk}/assign/", wanted, format="json")
    assert assigned.status_code == 201, assigned.content
    assert approvals_of(Assignment.objects.get(pk=assigned.json()["id"])) == "deny"
    assert client.get(f"/api/v1/personalities/{asker.personality.name}/").json()["approvals"] == "ask"
