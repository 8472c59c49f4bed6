"""Agents on the dashboard, and what concerns agents and jobs alike."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents.models import Agent, Job
from agents.services import (
    add_dependencies,
    add_thought,
    cancel_job,
    complete_job,
    spawn_agents,
)
from agents.services.assign import assign_person
from runners.models import Operation
from runners.services.operations import run_operation, verb_named
from tests.agents.factories import ACTOR, make_agent, make_job, make_personality, make_work, now_of, run_and_end
from tests.dashboard.conftest import signed_in
from tests.runners.factories import make_project

pytestmark = pytest.mark.django_db


Queries = Callable[[int], Any]


def said(response: Any) -> str:
    """Return what the page that a form leads to says at its top."""
    return " ".join(str(message) for message in response.context["messages"])


@pytest.mark.parametrize("address", ["/agents/", "/jobs/", "/new-job/"])
def test_a_page_asks_for_a_sign_in_and_is_there_when_empty(client: Client, address: str) -> None:
    assert Client().get(address)["Location"] == f"/login/?next={address}"
    assert client.get(address).status_code == 200


def test_agents_are_spawned_as_many_as_typed(client: Client) -> None:
    role, project = make_personality(), make_project()
    typed = {"count": "12", "personality": role.name, "project": project.name}
    page = client.post("/new-agents/", typed, follow=True)
    assert Agent.objects.filter(personality=role, project=project, status="idle").count() == 12
    assert "and 9 more spawned" in said(page)
    refused = client.post("/new-agents/", {**typed, "count": "0"})
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["count"])
    assert Agent.objects.count() == 12


def test_agents_are_listed_by_status_personality_and_project_and_what_is_unknown_is_called_so(client: Client) -> None:
    project = make_project()
    mine, other = make_agent(project=project), make_agent()
    add_thought(mine.pk, "The parser is the culprit.", actor=ACTOR)
    for query in (f"project={project.name}", f"personality={mine.personality.name}", f"q={mine.name}"):
        (row,) = client.get(f"/agents/?{query}").context["rows"]
        assert row["name"] == mine.name, query
    assert (row["thought"], row["tokens"], row["cost"]) == ("The parser is the culprit.", "unknown", "unknown")
    assert {row["name"] for row in client.get("/agents/?status=idle").context["rows"]} == {mine.name, other.name}
    assert client.get("/agents/?status=paused").context["rows"] == []
    for shown in ("table", "cards"):
        page = client.get(f"/agents/?as={shown}").content.decode()
        assert "The parser is the culprit." in page
        assert 'data-word="unknown"' in page


def test_an_agents_page_tells_its_thoughts_jobs_and_runs(client: Client) -> None:
    work = make_work(title="Mend the parser")
    assert work.agent is not None
    assert work.runner is not None
    add_thought(work.agent.pk, "Hm <b>.", actor=ACTOR)
    run_and_end(work, exit_code=0)
    page = client.get(f"/agents/{work.agent.name}/").content.decode()
    for words in ("Mend the parser", "Hm &lt;b&gt;.", work.runner.name, "Working", "Kill"):
        assert words in page
    assert client.get("/agents/nobody/").status_code == 404


def test_an_agent_is_paused_resumed_and_retired_and_a_refusal_is_shown(client: Client) -> None:
    agent = make_agent()
    for verb, status in (("pause", "paused"), ("resume", "idle"), ("retire", "retired")):
        client.post(f"/agents/{agent.name}/{verb}/")
        assert now_of(agent).status == status
    page = client.post(f"/agents/{agent.name}/pause/", follow=True)
    assert "flash error" in page.content.decode()
    assert client.post(f"/agents/{agent.name}/praise/").status_code == 404


def test_an_agent_that_works_is_killed(client: Client) -> None:
    work = make_work()
    assert work.agent is not None
    assert "was killed" in said(client.post(f"/agents/{work.agent.name}/kill/", follow=True))
    assert now_of(work.agent).status == "error"


def test_a_reader_sees_all_and_may_do_nothing(reader: User) -> None:
    agent, job, client = make_agent(), make_job(deliverables=["a fix"]), signed_in(reader)
    for address in ("/agents/", "/agents/?as=cards", f"/agents/{agent.name}/", "/jobs/", f"/jobs/{job.pk}/", "/"):
        page = client.get(address)
        assert page.status_code == 200, address
        # Signing out is all that may be sent.
        assert page.content.decode().count('method="post"') == 1, address
    verbs = ("move", "assign", "complete", "fail", "release", "cancel", "retry", "comment", "mark", "drop", "wait-for")
    acts = [f"/jobs/{job.pk}/{verb}/" for verb in verbs]
    for address in (*acts, f"/agents/{agent.name}/pause/", "/new-agents/", "/new-job/"):
        assert client.post(address, {"to": "cancelled"}).status_code == 403, address
    assert now_of(job).status == "pending"


def test_the_overview_tells_how_the_workforce_stands(client: Client) -> None:
    assert "Workforce" not in client.get("/").content.decode()
    make_agent()
    done, _ = make_job(priority="high"), make_job(priority="critical")
    assign_person(done.pk, User.objects.get(username="ada"), actor=ACTOR)
    complete_job(done.pk, actor=ACTOR)
    cancel_job(make_job().pk, actor=ACTOR)
    shown = client.get("/").context["workforce"]
    assert {each["status"]: each["count"] for each in shown["jobs"] if each["count"]} == {
        "pending": 1,
        "completed": 1,
        "cancelled": 1,
    }
    assert [each["count"] for each in shown["priorities"]] == [1, 0, 0, 0]
    assert shown["completion"] == "50 %"
    assert [(each["status"], each["count"]) for each in shown["agents"]] == [("idle", 1)]


@pytest.mark.parametrize("address", ["/agents/", "/agents/?as=cards", "/jobs/", "/jobs/?status=pending"])
def test_a_page_asks_as_many_queries_for_200_as_for_few(
    client: Client, address: str, django_assert_max_num_queries: Queries
) -> None:
    role, project = make_personality(), make_project()
    first = make_job(project)
    Agent.objects.bulk_create(
        [Agent(name=f"a-{n}", personality=role, project=project, status="idle") for n in range(200)]
    )
    Job.objects.bulk_create(
        [Job(id=f"job-2020-01-01-{n:03}", title=f"Job {n}", project=project, labels=["x"]) for n in range(200)]
    )
    add_dependencies(first.pk, ["job-2020-01-01-001", "job-2020-01-01-002"], actor=ACTOR)
    with django_assert_max_num_queries(22):
        assert client.get(address).status_code == 200


def test_all_agents_that_match_are_acted_on_after_a_look_at_who_is_meant(client: Client) -> None:
    cadets = spawn_agents(personality="cadet", count=2, actor="user:ada")
    spawn_agents(personality="senior", count=1, actor="user:ada")
    assert "With all 2 that match" in client.get("/agents/", {"personality": "cadet"}).content.decode()
    asked = {"verb": "agent.pause", "filter": '{"personality": "cadet"}'}
    assert client.get("/operations/new/", asked).context["shown"].would_do == 2
    client.post("/operations/new/", {**asked, "count": "2"})
    operation = Operation.objects.get()
    run_operation(operation.pk)
    assert set(Agent.objects.filter(status="paused").values_list("name", flat=True)) == {each.name for each in cadets}
    assert f"/agents/{cadets[0].name}/" in client.get(f"/operations/{operation.pk}/").content.decode()


def test_chosen_jobs_are_shown_first_and_then_cancelled(client: Client) -> None:
    jobs = [make_job(title=f"Job {n}") for n in range(3)]
    board = client.get("/jobs/")
    assert "job.set_status" not in {verb.name for verb in board.context["batch_verbs"]}
    shown = client.get("/operations/new/", {"verb": "job.cancel", "filter": "{}", "ids": [jobs[0].pk, jobs[2].pk]})
    assert (shown.context["shown"].would_do, shown.context["filter_words"]) == (2, "the 2 chosen")
    sent = {"verb": "job.cancel", "filter": shown.context["filter_json"], "count": "2"}
    client.post("/operations/new/", sent)
    run_operation(Operation.objects.get().pk)
    assert [now_of(job).status for job in jobs] == ["cancelled", "pending", "cancelled"]


def test_the_board_s_filter_is_the_operation_s(client: Client) -> None:
    project, agent = make_project(name="shop"), make_agent()
    wanted = make_job(project, title="Mend it", priority="high", labels=["api"], wanted_agent=agent.name)
    other = make_job(title="Leave it")
    asks = make_job(title="Ask", dependencies=[cancel_job(make_job().pk, actor=ACTOR).pk])
    for query in (
        "project=shop", "priority=high", "label=api", f"agent={agent.name}", "q=Mend", "status=pending&q=Mend",
    ):  # fmt: skip
        board = client.get(f"/jobs/?{query}")
        chosen = verb_named("job.cancel").matching(json.loads(board.context["filter_json"]))
        assert ([job.pk for job in chosen], board.context["batch_count"]) == ([wanted.pk], 1), query
    board = client.get("/jobs/?decision=any")
    chosen = verb_named("job.cancel").matching(json.loads(board.context["filter_json"]))
    assert [job.pk for job in chosen] == [asks.pk]
    assert other.pk not in {job.pk for job in chosen}


def test_who_may_not_do_it_is_not_offered_it(reader: User) -> None:
    make_job()
    make_agent()
    for address in ("/jobs/", "/agents/"):
        page = signed_in(reader).get(address).content.decode()
        assert 'class="choose"' not in page
        assert 'class="batch"' not in page
