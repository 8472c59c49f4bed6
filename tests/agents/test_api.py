"""Jobs, assignments, todos, time and dispatch over the API: who may, what is refused, how many queries."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from agents.models import Agent, Job
from agents.services import add_thought
from agents.services.spawn import new_names, recover_stuck_spawns
from runners.models import Runner
from tests.agents.factories import ACTOR, make_agent, make_job, make_work
from tests.callers import client_of, make_user, operator, reader
from tests.runners.factories import make_node, make_project

pytestmark = pytest.mark.django_db
V1 = "/api/v1"


def post(client: APIClient, address: str, body: Any = None, status: int = 200) -> Any:
    answer = client.post(f"{V1}/{address}/", {} if body is None else body, format="json")
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def test_a_board_is_made_worked_and_settled_over_the_api() -> None:
    client = operator()
    project = make_project(name="shop")
    one = post(client, "jobs", {"title": "One", "project": "shop", "labels": ["db"], "deliverables": ["code"]}, 201)
    two = post(client, "jobs", {"title": "Two", "project": "shop", "dependencies": [one["id"]]}, 201)
    assert (two["status"], two["dependencies"][0]["id"]) == ("blocked", one["id"])
    ready = client.get(f"{V1}/jobs/ready/").json()["results"]
    assert [job["id"] for job in ready] == [one["id"]]
    taken = post(client, f"jobs/{one['id']}/assign", {"person": "operator"}, 201)
    assert (taken["person"], taken["outcome"]) == ("operator", "")
    mark = one["deliverables"][0]["id"]
    assert post(client, f"jobs/{one['id']}/deliverables/{mark}", {"done": True})["done_by"] == "user:operator"
    done = post(client, f"jobs/{one['id']}/complete", {"note": "Shipped."})
    assert (done["status"], done["figures"]["deliverables_done"]) == ("completed", 1)
    assert client.get(f"{V1}/jobs/{two['id']}/").json()["status"] == "pending"
    moves = client.get(f"{V1}/jobs/{one['id']}/moves/").json()["results"]
    assert [move["to_status"] for move in moves] == ["pending", "in_progress", "completed"]
    assert project.jobs.count() == 2


def test_an_agent_is_given_a_job_and_both_tell_what_they_do() -> None:
    client = operator()
    make_node()
    agent, job = make_agent(name="robo"), make_job(make_project())
    assigned = post(client, f"jobs/{job.pk}/assign", {"agent": "robo"}, 201)
    runner = Runner.objects.get()
    assert (assigned["runner_id"], assigned["personality_version"]) == (str(runner.pk), 1)
    shown = client.get(f"{V1}/agents/robo/").json()
    assert (shown["status"], shown["job_id"], shown["runner_id"]) == ("working", job.pk, str(runner.pk))
    seen = client.get(f"{V1}/jobs/{job.pk}/").json()
    assert (seen["worker"], seen["runner_id"]) == ("robo", str(runner.pk))
    assert client.get(f"{V1}/jobs/", {"agent": "robo"}).json()["count"] == 1
    assert client.get(f"{V1}/assignments/", {"open": "true", "agent": "robo"}).json()["count"] == 1
    assert post(client, "agents/robo/kill")["status"] == "error"
    assert Agent.objects.get(pk=agent.pk).status == "error"


def test_refusals_name_what_stands_in_the_way() -> None:
    client = operator()
    one = make_job()
    two = make_job(dependencies=[one.pk])
    cycle = post(client, f"jobs/{one.pk}/wait-for", {"dependencies": [two.pk]}, 409)
    assert (cycle["type"], cycle["cycle"]) == ("/problems/dependency_cycle", [one.pk, two.pk, one.pk])
    missing = post(client, "jobs", {"title": "x", "dependencies": ["job-1999-01-01-001"]}, 422)
    assert missing["missing"] == ["job-1999-01-01-001"]
    early = post(client, f"jobs/{two.pk}/assign", {"person": "operator"}, 409)
    assert (early["type"], early["state"]) == ("/problems/job_move_refused", "blocked")
    assert post(client, f"jobs/{one.pk}/assign", {}, 400)["errors"] == {"agent": ["Name an agent or a person."]}
    assert post(client, f"jobs/{one.pk}/assign", {"agent": "nobody"}, 422)["field"] == "agent"
    assert client.patch(f"{V1}/jobs/{one.pk}/", {"status": "completed"}, format="json").status_code == 400
    assert client.delete(f"{V1}/jobs/{one.pk}/").status_code == 409
    assert Job.objects.count() == 2


def test_who_may_only_read_changes_nothing() -> None:
    client, job = reader(), make_job()
    entry = post(operator(), "time-entries", {}, 201)
    for address in (
        "jobs",
        f"jobs/{job.pk}/assign",
        f"jobs/{job.pk}/complete",
        f"jobs/{job.pk}/comments",
        f"jobs/{job.pk}/wait-for",
        "agents/spawn",
        "todos",
        "time-entries",
        f"time-entries/{entry['id']}/stop",
    ):
        post(client, address, {}, 403)
    assert client.patch(f"{V1}/dispatch/{make_project().name}/", {}, format="json").status_code == 403
    for address in ("jobs", "assignments", "todos", "time-entries", "dispatch", "agents"):
        assert client.get(f"{V1}/{address}/").status_code == 200


def test_lists_take_the_same_queries_however_long_they_are(django_assert_max_num_queries: Any) -> None:
    for _ in range(3):
        make_work()
        make_job(dependencies=[make_job().pk])
    client = reader()
    for address, most in (("jobs", 12), ("agents", 10), ("assignments", 5), ("todos", 5), ("time-entries", 5)):
        with django_assert_max_num_queries(most):
            assert client.get(f"{V1}/{address}/").json()["count"] >= 3


def test_jobs_are_found_by_what_they_are() -> None:
    client = reader()
    old = make_job(title="Mend the till", labels=["db"], priority="high")
    make_job(dependencies=[old.pk])
    for query, count in (
        ({"label": "db"}, 1),
        ({"priority": "high"}, 1),
        ({"status": ["pending", "blocked"]}, 2),
        ({"search": "till"}, 1),
        ({"open": "false"}, 0),
        ({"needs_decision": "true"}, 0),
        ({"project": "nowhere"}, 0),
    ):
        assert client.get(f"{V1}/jobs/", query).json()["count"] == count, query
    assert client.get(f"{V1}/jobs/", {"status": "someday"}).status_code == 400


def test_a_dozen_cadets_are_spawned_with_names_of_their_own() -> None:
    client = operator()
    made = post(client, "agents/spawn", {"personality": "cadet", "count": 12}, 201)
    names = {agent["name"] for agent in made}
    assert len(names) == 12
    assert all(name.startswith("cadet-") and agent["status"] == "idle" for name, agent in zip(names, made, strict=True))
    post(client, "agents/spawn", {"personality": "cadet", "count": 1001}, 400)
    post(client, "agents/spawn", {"personality": "nobody", "count": 2}, 422)
    assert Agent.objects.count() == 12


def test_names_are_new_however_many_there_are() -> None:
    names = new_names("cadet", 2000)
    assert len(set(names)) == 2000
    assert all(len(name) <= 60 for name in names)


def test_an_agent_that_never_came_through_is_recovered() -> None:
    agent = make_agent()
    Agent.objects.filter(pk=agent.pk).update(status="spawning")
    assert recover_stuck_spawns() == 0
    Agent.objects.filter(pk=agent.pk).update(status="spawning", status_changed_at="2026-01-01T00:00:00Z")
    assert recover_stuck_spawns() == 1
    assert Agent.objects.get().status == "idle"


def test_the_newest_fifty_thoughts_are_kept_and_shown_newest_first() -> None:
    agent = make_agent(name="robo")
    other = make_agent()
    add_thought(other.pk, "Mine.", actor=ACTOR)
    for number in range(55):
        add_thought(agent.pk, f"Thought {number}", actor=ACTOR)
    client = operator()
    made = post(client, "agents/robo/thoughts", {"text": "The last."}, 201)
    assert made["text"] == "The last."
    shown = client.get(f"{V1}/agents/robo/thoughts/").json()
    assert shown["count"] == 50
    assert [each["text"] for each in shown["results"][:2]] == ["The last.", "Thought 54"]
    assert client.get(f"{V1}/agents/robo/").json()["figures"]["last_thought"] == "The last."
    assert other.thoughts.count() == 1
    post(client, "agents/robo/thoughts", {"text": " "}, 400)


def test_todos_and_time_are_kept_over_the_api() -> None:
    client = operator()
    agent, job = make_agent(name="robo"), make_job()
    todo = post(client, "todos", {"agent": "robo", "title": "Read", "job": job.pk}, 201)
    changed = client.patch(f"{V1}/todos/{todo['id']}/", {"status": "completed"}, format="json").json()
    assert changed["status"] == "completed"
    assert client.delete(f"{V1}/todos/{todo['id']}/").status_code == 204
    entry = post(client, "time-entries", {"agent": "robo", "job": job.pk}, 201)
    assert post(client, "time-entries", {"agent": "robo"}, 409)["type"] == "/problems/time_overlap"
    for act, status in (("pause", "paused"), ("resume", "active"), ("stop", "completed")):
        assert post(client, f"time-entries/{entry['id']}/{act}")["status"] == status
    times = {"started_at": "2026-05-04T10:00:00Z", "ended_at": "2026-05-04T12:30:00Z"}
    assert post(client, "time-entries", {"job": job.pk, **times}, 201)["person"] == "operator"
    period = {"start": "2026-05-01T00:00:00Z", "end": "2026-05-31T00:00:00Z"}
    hours = client.get(f"{V1}/time-entries/hours/", period).json()
    assert hours == [{"key": "2026-05-04", "hours": 2.5}]
    by_worker = client.get(f"{V1}/time-entries/hours/", {**period, "by": "worker"}).json()
    assert by_worker == [{"key": "operator", "hours": 2.5}]
    assert client.get(f"{V1}/time-entries/hours/", {**period, "agent": agent.name}).json() == []
    assert client.get(f"{V1}/time-entries/hours/", {"zone": "Mars/Base"}).status_code == 400
    post(client, "time-entries", {"agent": "nobody"}, 422)


def test_dispatch_is_set_for_a_project_and_off_where_it_never_was() -> None:
    client = operator()
    name = make_project().name
    assert client.get(f"{V1}/dispatch/{name}/").json()["enabled"] is False
    wanted = {"enabled": True, "work_from": "22:00", "work_until": "06:00", "time_zone": "Europe/Vienna"}
    answer = client.patch(f"{V1}/dispatch/{name}/", wanted, format="json").json()
    assert (answer["enabled"], answer["work_until"], answer["max_failures"]) == (True, "06:00:00", 3)
    refused = client.patch(f"{V1}/dispatch/{name}/", {"time_zone": "Mars/Base"}, format="json")
    assert (refused.status_code, refused.json()["field"]) == (422, "time_zone")
    assert client.get(f"{V1}/dispatch/nowhere/").status_code == 404


def test_versions_of_a_role_are_listed_with_who_made_them() -> None:
    client = client_of(make_user("staff", "agents.change_personality"))
    client.patch(f"{V1}/personalities/cadet/", {"work_style": "Slowly."}, format="json")
    versions = client.get(f"{V1}/personalities/cadet/versions/").json()["results"]
    assert [(each["version"], each["actor"]) for each in versions] == [(2, "user:staff"), (1, "system:agents")]
    refused = client.patch(f"{V1}/personalities/cadet/", {"role_prompt": "{{ job.titel }}"}, format="json")
    assert (refused.status_code, refused.json()["field"]) == (422, "role_prompt")
