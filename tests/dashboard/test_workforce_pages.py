"""Agents and jobs on the dashboard."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents.models import Agent, Assignment, Comment, Job
from agents.services import (
    add_dependencies,
    add_thought,
    cancel_job,
    change_job,
    complete_job,
    contents_of,
    mark_deliverable,
    spawn_agents,
)
from agents.services.assign import assign_person
from dashboard.dependency_graph import graph_of
from outbox.models import Entry
from runners.models import Operation, Runner
from runners.services.operations import run_operation, verb_named
from tests.agents.factories import ACTOR, make_agent, make_job, make_personality, make_work, now_of, run_and_end
from tests.callers import make_user
from tests.dashboard.conftest import signed_in
from tests.runners.factories import make_node, make_project

pytestmark = pytest.mark.django_db

Queries = Callable[[int], Any]


def said(response: Any) -> str:
    """Return what the page that a form leads to says at its top."""
    return " ".join(str(message) for message in response.context["messages"])


@pytest.mark.parametrize("address", ["/agents/", "/jobs/", "/new-job/"])
def test_a_page_asks_for_a_sign_in_and_is_there_when_empty(client: Client, address: str) -> None:
    assert Client().get(address)["Location"] == f"/login/?next={address}"
    assert client.get(address).status_code == 200


# --- Agents ---


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


# --- The board ---


def columns_of(response: Any) -> dict[str, list[str]]:
    return {each["status"]: [row["id"] for row in each["rows"]] for each in response.context["columns"]}


def test_the_board_has_a_column_for_each_status_the_most_urgent_first(client: Client) -> None:
    low, high = make_job(priority="low", labels=["ui"]), make_job(priority="critical")
    waiting = make_job(dependencies=[low.pk])
    assign_person((done := make_job()).pk, make_user("linus"), actor=ACTOR)
    complete_job(done.pk, actor=ACTOR)
    page = client.get("/jobs/")
    shown = columns_of(page)
    assert (shown["pending"], shown["blocked"], shown["completed"]) == ([high.pk, low.pk], [waiting.pk], [done.pk])
    assert "waits for 1" in page.content.decode()
    assert columns_of(client.get("/jobs/?label=ui"))["pending"] == [low.pk]
    assert columns_of(client.get("/jobs/?priority=critical"))["pending"] == [high.pk]
    assert columns_of(client.get("/jobs/?status=blocked")) == {"blocked": [waiting.pk]}


def test_a_card_goes_where_it_may_and_nowhere_else(client: Client) -> None:
    job = make_job()
    for to, words in (("completed", "flash error"), ("in_progress", "being assigned"), ("blocked", "made to wait")):
        assert words in client.post(f"/jobs/{job.pk}/move/", {"to": to}, follow=True).content.decode()
        assert now_of(job).status == "pending"
    answer = client.post(f"/jobs/{job.pk}/move/", {"to": "cancelled", "here": "label=ui"})
    assert answer["Location"] == "/jobs/?label=ui"
    assert now_of(job).status == "cancelled"
    assert client.post(f"/jobs/{job.pk}/move/", {"to": "sideways"}).status_code == 404


@pytest.mark.parametrize("status", ["pending", "blocked", "in_progress", "failed"])
def test_every_move_that_a_card_offers_is_taken(client: Client, status: str) -> None:
    def make() -> Job:
        job = make_job(dependencies=[make_job().pk] if status == "blocked" else [])
        if status in {"in_progress", "failed"}:
            assign_person(job.pk, User.objects.get(username="ada"), actor=ACTOR)
        if status == "failed":
            client.post(f"/jobs/{job.pk}/fail/")
        return now_of(job)  # type: ignore[no-any-return]

    first = make()
    assert first.status == status
    (column,) = client.get(f"/jobs/?status={status}").context["columns"]
    (row,) = [row for row in column["rows"] if row["id"] == first.pk]
    assert row["targets"]
    for target in row["targets"]:
        job = make()
        client.post(f"/jobs/{job.pk}/move/", {"to": target})
        assert now_of(job).status == target


def test_a_job_is_made_as_typed(client: Client) -> None:
    project, first = make_project(), make_job()
    typed = {
        "title": "Mend it", "project": project.name, "priority": "high", "labels": "ui, parser",
        "estimated_hours": "2.5", "dependencies": f"{first.pk},", "deliverables": "a test\n\na fix\n", "worktree": "on",
    }  # fmt: skip
    answer = client.post("/new-job/", typed)
    job = Job.objects.get(title="Mend it")
    assert answer["Location"] == f"/jobs/{job.pk}/"
    assert (job.status, job.priority, job.labels, job.worktree) == ("blocked", "high", ["ui", "parser"], True)
    assert [each.text for each in job.deliverables.all()] == ["a test", "a fix"]
    refused = client.post("/new-job/", {**typed, "dependencies": "job-1999-01-01-001"})
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["dependencies"])
    assert Job.objects.filter(title="Mend it").count() == 1


# --- One job ---


def test_a_jobs_page_draws_what_it_waits_for_and_what_waits_for_it(client: Client) -> None:
    first = make_job(title="First")
    left, right = (make_job(title=title, dependencies=[first.pk]) for title in ("Left", "Right"))
    last = make_job(title="Last", dependencies=[left.pk, right.pk])
    graph = graph_of(left)
    assert graph is not None
    across = {node.title: node.x for node in graph.nodes}
    assert across.keys() == {"First", "Left", "Last"}
    assert across["First"] < across["Left"] < across["Last"]
    whole = graph_of(last)
    assert whole is not None
    assert {node.title for node in whole.nodes} == {"First", "Left", "Right", "Last"}
    assert len({(node.x, node.y) for node in whole.nodes}) == 4
    assert len(whole.paths) == 4
    assert not whole.cut
    page = client.get(f"/jobs/{last.pk}/").content.decode()
    assert f'href="/jobs/{first.pk}/"' in page
    assert graph_of(make_job()) is None


def test_a_long_chain_is_drawn_near_the_job_and_said_to_go_on() -> None:
    chain = [make_job()]
    for _ in range(6):
        chain.append(make_job(dependencies=[chain[-1].pk]))
    graph = graph_of(chain[-1])
    assert graph is not None
    assert graph.cut
    assert len(graph.nodes) == 5


def test_a_job_is_assigned_to_an_agent_or_a_person_and_brought_to_its_end(client: Client) -> None:
    make_node()
    project = make_project()
    agent, job, mine = make_agent(project=project), make_job(project), make_job()
    assert agent in client.get(f"/jobs/{job.pk}/").context["agents"]
    client.post(f"/jobs/{job.pk}/assign/", {"agent": agent.name})
    assert Assignment.objects.get(job=job).agent == agent
    client.post(f"/jobs/{mine.pk}/assign/", {"person": "ada"})
    client.post(f"/jobs/{mine.pk}/complete/", {"note": "It was easy."})
    assert now_of(mine).status == "completed"
    client.post(f"/jobs/{job.pk}/release/", {"note": "Not now."})
    assert (now_of(job).status, now_of(job).reason) == ("pending", "Not now.")
    refused = client.post(f"/jobs/{mine.pk}/assign/", {"agent": agent.name}, follow=True)
    assert "it cannot start" in said(refused)


def test_one_run_may_ask_where_its_role_denies(client: Client) -> None:
    make_node(programs={"claude_code": {"path": "/bin/claude", "version": "1"}})
    agent = make_agent(project=make_project(), role=make_personality(default_backend="claude_code", argv=[]))
    job = make_job()
    page = client.post(f"/jobs/{job.pk}/assign/", {"agent": agent.name, "approvals": "perhaps"}, follow=True)
    assert "one of deny, ask" in said(page)
    client.post(f"/jobs/{job.pk}/assign/", {"agent": agent.name, "approvals": "ask"})
    assert Runner.objects.get().approvals == "ask"


def test_a_job_without_any_project_is_not_launched_and_the_page_says_why(client: Client) -> None:
    agent, job = make_agent(), make_job()
    page = client.post(f"/jobs/{job.pk}/assign/", {"agent": agent.name}, follow=True)
    assert "has a project to work in" in said(page)
    assert now_of(job).status == "pending"
    assert "Choose an agent" in said(client.post(f"/jobs/{job.pk}/assign/", follow=True))


def test_deliverables_are_marked_and_comments_made(client: Client) -> None:
    job = make_job(deliverables=["a fix"])
    fix = job.deliverables.get()
    client.post(f"/jobs/{job.pk}/mark/", {"deliverable": fix.pk, "done": "yes"})
    assert now_of(fix).done_by == "user:ada"
    client.post(f"/jobs/{job.pk}/mark/", {"deliverable": fix.pk, "done": "no"})
    assert now_of(fix).done_at is None
    assert "no deliverable" in said(client.post(f"/jobs/{job.pk}/mark/", {"deliverable": "x"}, follow=True))
    client.post(f"/jobs/{job.pk}/comment/", {"text": "Why <i>now</i>?"})
    assert Comment.objects.get(job=job).actor == "user:ada"
    assert "Why &lt;i&gt;now&lt;/i&gt;?" in client.get(f"/jobs/{job.pk}/").content.decode()


def test_a_decision_is_asked_for_and_taken_on_the_page(client: Client) -> None:
    first = make_job()
    job = make_job(dependencies=[first.pk])
    cancel_job(first.pk, actor=ACTOR)
    page = client.get(f"/jobs/{job.pk}/").content.decode()
    assert "Wait no longer for" in page
    assert columns_of(client.get("/jobs/?decision=any"))["blocked"] == [job.pk]
    client.post(f"/jobs/{job.pk}/drop/", {"dependencies": first.pk})
    assert (now_of(job).status, now_of(job).decision) == ("pending", "")


def test_a_circle_of_waiting_is_refused_and_named(client: Client) -> None:
    first = make_job()
    job = make_job(dependencies=[first.pk])
    page = client.post(f"/jobs/{first.pk}/wait-for/", {"dependencies": job.pk}, follow=True)
    assert f"{first.pk} > {job.pk} > {first.pk}" in said(page)


# --- Everywhere ---


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


def test_a_mark_is_counted_on_the_board(client: Client) -> None:
    job = make_job(deliverables=["a fix", "a test"])
    fix = job.deliverables.first()
    assert fix is not None
    mark_deliverable(job.pk, fix.pk, done=True, actor=ACTOR)
    assert "1/2 there" in client.get("/jobs/").content.decode()


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


# --- Editing ---


def edit_form(client: Client, job: Job) -> dict[str, Any]:
    """Return what a browser would send of the edit page if nothing were typed."""
    form = client.get(f"/jobs/{job.pk}/edit/").context["form"]
    sent = {name: form[name].value() for name in form.fields}
    # Unticked boxes are not sent; and browsers end lines as the network does.
    sent = {name: value for name, value in sent.items() if value not in (None, False)}
    return {name: value.replace("\n", "\r\n") if isinstance(value, str) else value for name, value in sent.items()}


def test_every_field_of_a_job_is_edited_on_a_page(client: Client) -> None:
    project, needed = make_project(name="shop"), make_job()
    job, agent = make_job(deliverables=["A test"]), make_agent()
    typed = {
        **edit_form(client, job),
        "title": "Mend it",
        "description": "All of it.\r\nReally.",
        "project": project.name,
        "priority": "high",
        "labels": "api, docs",
        "estimated_hours": "2.50",
        "dependencies": needed.pk,
        "deliverables": "A test\r\nA line",
        "wanted_agent": agent.name,
        "worktree": "on",
    }
    page = client.post(f"/jobs/{job.pk}/edit/", typed, follow=True)
    assert "is changed" in said(page)
    assert contents_of(now_of(job)) == {
        "title": "Mend it",
        "description": "All of it.\nReally.",
        "project": "shop",
        "priority": "high",
        "labels": ["api", "docs"],
        "estimated_hours": "2.5",
        "dependencies": [needed.pk],
        "deliverables": ["A test", "A line"],
        "wanted_agent": agent.name,
        "wanted_person": None,
        "worktree": True,
    }
    assert now_of(job).status == "blocked"


def test_an_edit_that_changes_nothing_writes_nothing(client: Client) -> None:
    job = make_job(title="Mend it", description="  Two\nlines \n", labels=["a, b"], deliverables=["A test"])
    sent, before = edit_form(client, job), Entry.objects.count()
    client.post(f"/jobs/{job.pk}/edit/", sent)
    assert Entry.objects.count() == before
    assert now_of(job).description == "  Two\nlines \n"


def test_what_others_changed_meanwhile_stays_and_the_same_field_is_a_conflict_that_loses_nothing(
    client: Client,
) -> None:
    job = make_job(title="Mend it", priority="low")
    sent = edit_form(client, job)
    change_job(job.pk, actor="user:bob", priority="critical", description="Bob knows more.")
    client.post(f"/jobs/{job.pk}/edit/", {**sent, "title": "Mend all of it"})
    kept = contents_of(now_of(job))
    assert (kept["title"], kept["priority"], kept["description"]) == ("Mend all of it", "critical", "Bob knows more.")
    conflict = client.post(f"/jobs/{job.pk}/edit/", {**sent, "description": "Ada knows more."})
    assert conflict.status_code == 422
    assert "Changed meanwhile to “Bob knows more.”" in str(conflict.context["form"].errors["description"])
    assert conflict.context["form"]["description"].value() == "Ada knows more."
    assert contents_of(now_of(job))["description"] == "Bob knows more."
    # Sent again, with what is known now, it is meant.
    again = {**sent, "description": "Ada knows more.", "seen": conflict.context["form"]["seen"].value()}
    assert client.post(f"/jobs/{job.pk}/edit/", again).status_code == 302
    assert contents_of(now_of(job))["description"] == "Ada knows more."


def test_an_edit_is_refused_as_a_whole_with_the_circle_named(client: Client) -> None:
    first = make_job(title="First")
    second = make_job(title="Second", dependencies=[first.pk])
    typed = {**edit_form(client, first), "title": "Other", "deliverables": "One", "dependencies": second.pk}
    page = client.post(f"/jobs/{first.pk}/edit/", typed)
    assert page.status_code == 422
    assert f"{first.pk} > {second.pk} > {first.pk}" in page.content.decode().replace("&gt;", ">")
    assert (now_of(first).title, now_of(first).deliverables.count()) == ("First", 0)
    unknown = client.post(f"/jobs/{first.pk}/edit/", {**typed, "dependencies": "job-none"})
    assert "There is no job job-none" in str(unknown.context["form"].errors["dependencies"])


def test_who_may_not_change_jobs_may_not_edit_them(reader: User) -> None:
    job = make_job()
    page = signed_in(reader)
    assert page.get(f"/jobs/{job.pk}/edit/").status_code == 403
    assert page.post(f"/jobs/{job.pk}/edit/", {"title": "Mine"}).status_code == 403
    assert "/edit/" not in page.get(f"/jobs/{job.pk}/").content.decode()


# --- Some of many, or all that match ---


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
