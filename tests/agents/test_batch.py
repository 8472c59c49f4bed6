"""Operations over many agents and jobs."""

from typing import Any

import pytest

from agents.models import Agent, Job, Personality
from agents.services import assign_person, create_job, spawn_agents
from runners.exceptions import InvalidRequest
from runners.models import Operation
from runners.services.operations import begin_operation, preview, run_operation
from tests.agents.factories import make_agent, make_job, make_work
from tests.callers import make_user, operator
from tests.runners.factories import make_node, make_project

pytestmark = pytest.mark.django_db


def done(verb: str, wanted: dict[str, Any], **parameters: Any) -> Operation:
    operation = begin_operation(verb, wanted, parameters, actor="user:ada")
    run_operation(operation.pk)
    operation.refresh_from_db()
    return operation


def results(operation: Operation) -> set[tuple[str, str, str]]:
    return set(operation.items.values_list("name", "result", "message"))


def statuses() -> dict[str, str]:
    return dict(Agent.objects.values_list("name", "status"))


def test_all_idle_cadets_of_a_project_are_paused_and_go_on() -> None:
    here, there = make_project(), make_project()
    cadets = spawn_agents(personality="cadet", count=3, project=here.name, actor="user:ada")
    spawn_agents(personality="cadet", count=1, project=there.name, actor="user:ada")
    spawn_agents(personality="senior", count=1, project=here.name, actor="user:ada")
    wanted = {"status": "idle", "personality": "cadet", "project": here.name}
    assert preview("agent.pause", wanted).would_do == 3
    operation = done("agent.pause", wanted)
    assert (operation.status, operation.done, operation.failed) == ("done", 3, 0)
    assert {name for name, status in statuses().items() if status == "paused"} == {agent.name for agent in cadets}
    assert done("agent.resume", {"names": [cadets[0].name, cadets[1].name]}).done == 2
    assert list(statuses().values()).count("paused") == 1


def test_what_cannot_be_done_is_told_beforehand_and_item_by_item() -> None:
    idle, retired = spawn_agents(personality="cadet", count=2, actor="user:ada")
    done("agent.retire", {"ids": [str(retired.pk)]})
    found = preview("agent.retire", {})
    assert (found.count, found.exceptions[0].name, found.exceptions[0].reason) == (2, retired.name, "It is retired.")
    operation = done("agent.retire", {})
    assert results(operation) == {(idle.name, "done", ""), (retired.name, "skipped", "It is retired.")}


def test_agents_are_given_the_jobs_that_are_ready() -> None:
    make_node()
    project = make_project(quota=10)
    agents = spawn_agents(personality="cadet", count=3, project=project.name, actor="user:ada")
    # A program that every machine has: what is assigned is launched.
    Personality.objects.filter(name="cadet").update(default_backend="command", argv=["cat"])
    jobs = [create_job(title=f"Job {n}", project=project.name, actor="user:ada") for n in range(2)]
    operation = done("agent.assign", {"project": project.name})
    assert (operation.done, operation.failed) == (2, 1)
    assert set(Job.objects.values_list("status", flat=True)) == {"in_progress"}
    assert sorted(statuses().values()) == ["idle", "working", "working"]
    (message,) = operation.items.filter(result="failed").values_list("message", flat=True)
    assert message.startswith("No job is ready for")
    assert {agent.name for agent in agents} == set(operation.items.values_list("name", flat=True))
    assert len(jobs) == 2


def test_jobs_change_their_status_by_the_verb_that_leads_there() -> None:
    open_job, begun = (create_job(title=title, actor="user:ada") for title in ("Open", "Begun"))
    assign_person(begun.pk, make_user("ada"), actor="user:ada")
    operation = done("job.set_status", {}, status="completed")
    assert dict(Job.objects.values_list("title", "status")) == {"Open": "pending", "Begun": "completed"}
    skipped = operation.items.get(target_id=open_job.pk)
    assert (skipped.result, skipped.message) == (
        "skipped", f"{open_job.pk} is pending: it cannot become completed.",
    )  # fmt: skip
    with pytest.raises(InvalidRequest, match="wants the parameter status"):
        begin_operation("job.set_status", {}, actor="user:ada")


def test_a_preview_tells_each_exception_that_would_be() -> None:
    make_node()
    work, idle = make_work(), make_agent()
    loose = make_job()
    needed = make_job()
    waiting = make_job(dependencies=[needed.pk])
    assert work.agent is not None
    exceptions = {
        ("agent.kill", None): {idle.name},
        ("agent.revive", None): {idle.name, work.agent.name},
        ("agent.delete", None): {work.agent.name},
        ("job.delete", None): {work.job_id},
        ("job.set_status", "completed"): {loose.pk, needed.pk, waiting.pk},
        ("job.set_status", "in_progress"): {loose.pk, needed.pk, waiting.pk, work.job_id},
        ("job.set_status", "cancelled"): set(),
    }
    for (verb, status), names in exceptions.items():
        parameters = {"status": status} if status else {}
        shown = preview(verb, {}, parameters)
        assert {each.name for each in shown.exceptions} == names, verb
    # What waits goes first, so that what it waits for may go too.
    operation = done("job.delete", {})
    assert (operation.done, operation.skipped, operation.failed) == (3, 1, 0)


def test_an_unknown_filter_is_an_error_for_it_might_have_meant_less() -> None:
    with pytest.raises(InvalidRequest, match="Agents are not narrowed by colour"):
        preview("agent.pause", {"colour": "red"})
    with pytest.raises(InvalidRequest, match="status cannot be 'asleep'"):
        preview("agent.pause", {"status": "asleep"})


def test_the_api_begins_operations_over_agents() -> None:
    spawn_agents(personality="cadet", count=2, actor="user:ada")
    api = operator()
    body = {"verb": "agent.pause", "filter": {"personality": "cadet"}}
    answer = api.post("/api/v1/operations/preview/", body, format="json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["count"] == 2
    assert api.post("/api/v1/operations/", body, format="json").status_code in {201, 202}
