"""Jobs on the dashboard: the board, and the page of one."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents.models import Assignment, Comment, Job
from agents.services import (
    cancel_job,
    change_job,
    complete_job,
    contents_of,
    mark_deliverable,
)
from agents.services.assign import assign_person
from dashboard.dependency_graph import graph_of
from outbox.models import Entry
from runners.models import Runner
from tests.agents.factories import ACTOR, make_agent, make_job, make_personality, now_of
from tests.callers import make_user
from tests.dashboard.conftest import signed_in
from tests.runners.factories import make_node, make_project

pytestmark = pytest.mark.django_db


def said(response: Any) -> str:
    """Return what the page that a form leads to says at its top."""
    return " ".join(str(message) for message in response.context["messages"])


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


def test_a_mark_is_counted_on_the_board(client: Client) -> None:
    job = make_job(deliverables=["a fix", "a test"])
    fix = job.deliverables.first()
    assert fix is not None
    mark_deliverable(job.pk, fix.pk, done=True, actor=ACTOR)
    assert "1/2 there" in client.get("/jobs/").content.decode()


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
