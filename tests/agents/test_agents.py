"""Agents and personalities: services, API, seed."""

import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.apps import apps
from django.db import connections

from agents.exceptions import AgentMoveRefused, InvalidAgent, PersonalityInUse
from agents.models import Agent, Personality
from agents.services import create_agent, delete_personality, retire_agent, save_personality
from agents.states import MOVES, AgentStatus
from agents.transitions import move
from outbox.models import Entry
from tests.callers import client_of, make_user, operator, reader
from tests.runners.factories import make_project

SIX = {"cadet", "senior", "specialist", "researcher", "debugger", "optimizer"}
V1 = "/api/v1"


@pytest.mark.django_db
def test_the_six_personalities_are_there_with_prompts() -> None:
    seeded = Personality.objects.filter(name__in=SIX)
    assert {personality.name for personality in seeded} == SIX
    assert all(len(personality.role_prompt) > 200 and personality.strengths for personality in seeded)


@pytest.mark.django_db
def test_the_seed_is_taken_back_but_for_what_people_changed_or_use() -> None:
    migration = importlib.import_module("agents.migrations.0002_personalities")
    save_personality(Personality.objects.get(name="senior"), {"work_style": "Mine."}, actor="user:ada")
    create_agent(personality="debugger", actor="user:ada")
    migration.unseed(apps, None)
    assert set(Personality.objects.values_list("name", flat=True)) == {"senior", "debugger"}
    migration.seed(apps, None)
    assert {personality.name for personality in Personality.objects.all()} == SIX
    assert Personality.objects.get(name="senior").work_style == "Mine."


@pytest.mark.django_db
def test_a_new_agent_is_idle_and_its_two_moves_are_events() -> None:
    make_project(name="shop")
    agent = create_agent(personality="cadet", project="shop", actor="user:ada")
    assert (agent.status, agent.name[:6]) == (AgentStatus.IDLE, "cadet-")
    entries = list(Entry.objects.filter(aggregate=f"agent:{agent.pk}").order_by("id"))
    assert [entry.type for entry in entries] == ["agent.spawning", "agent.idle"]
    assert entries[1].routing_key == f"agent.idle.{agent.name}"
    assert entries[1].data == {
        "agent_id": agent.pk,
        "name": agent.name,
        "personality": "cadet",
        "project": "shop",
        "runner_id": None,
        "job_id": None,
        "status": "idle",
        "from": "spawning",
        "reason": "",
        "actor": "user:ada",
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"personality": "nobody"}, "personality"),
        ({"personality": "cadet", "project": "nowhere"}, "project"),
        ({"personality": "cadet", "name": "no spaces please"}, "name"),
    ],
)
def test_an_agent_that_makes_no_sense_is_refused_and_leaves_nothing(wanted: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidAgent) as refusal:
        create_agent(actor="user:ada", **wanted)
    assert refusal.value.facts["field"] == field
    assert not Agent.objects.exists()
    assert not Entry.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("start", AgentStatus)
@pytest.mark.parametrize("to", AgentStatus)
def test_only_the_moves_of_the_diagram_are_made(start: AgentStatus, to: AgentStatus) -> None:
    agent = create_agent(personality="cadet", actor="user:ada")
    Agent.objects.filter(pk=agent.pk).update(status=start)
    if to in MOVES[start]:
        assert move(agent.pk, to, actor="user:ada").status == to
    else:
        with pytest.raises(AgentMoveRefused):
            move(agent.pk, to, actor="user:ada")
        assert Agent.objects.get().status == start


@pytest.mark.django_db(transaction=True)
def test_of_two_racing_moves_one_wins() -> None:
    role = Personality.objects.create(name="racer", description="x")
    agent = create_agent(personality=role.name, actor="user:ada")
    start = threading.Barrier(2)

    def retire(_: int) -> bool:
        try:
            start.wait(timeout=10)
            retire_agent(agent.pk, actor="user:ada")
        except AgentMoveRefused:
            return False
        else:
            return True
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(retire, range(2))) == [False, True]
    assert Entry.objects.filter(type="agent.retired").count() == 1


@pytest.mark.django_db
def test_each_change_of_a_personality_is_a_version() -> None:
    cadet = Personality.objects.get(name="cadet")
    assert save_personality(cadet, {"work_style": "Slowly."}, actor="user:ada").version == 2
    assert save_personality(cadet, {"model": "haiku"}, actor="user:ada").version == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "field"),
    [({"default_backend": "nothing"}, "default_backend"), ({"flags": ["--nonsense"]}, "flags")],
)
def test_a_personality_that_could_not_run_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidAgent) as refusal:
        save_personality(Personality.objects.get(name="cadet"), changes, actor="user:ada")
    assert refusal.value.facts["field"] == field
    assert Personality.objects.get(name="cadet").version == 1


@pytest.mark.django_db
def test_a_personality_in_use_cannot_go() -> None:
    cadet = Personality.objects.get(name="cadet")
    create_agent(personality="cadet", actor="user:ada")
    with pytest.raises(PersonalityInUse):
        delete_personality(cadet, actor="user:ada")
    delete_personality(Personality.objects.get(name="senior"), actor="user:ada")
    assert not Personality.objects.filter(name="senior").exists()


@pytest.mark.django_db
def test_staff_make_change_and_delete_personalities_over_the_api() -> None:
    client = client_of(
        make_user("staff", "agents.add_personality", "agents.change_personality", "agents.delete_personality")
    )
    wanted = {"name": "poet", "description": "Writes verse.", "default_backend": "command"}
    made = client.post(f"{V1}/personalities/", wanted, format="json")
    assert (made.status_code, made.json()["version"]) == (201, 1)
    assert client.post(f"{V1}/personalities/", wanted, format="json").status_code == 422
    changed = client.patch(f"{V1}/personalities/poet/", {"strengths": ["rhyme"]}, format="json").json()
    assert (changed["strengths"], changed["version"]) == (["rhyme"], 2)
    assert client.delete(f"{V1}/personalities/poet/").status_code == 204
    assert client.get(f"{V1}/personalities/poet/").status_code == 404


@pytest.mark.django_db
def test_who_may_only_read_changes_no_agent() -> None:
    create_agent(personality="cadet", name="one", actor="user:ada")
    client = reader()
    assert client.get(f"{V1}/agents/one/").json()["personality"] == "cadet"
    assert client.post(f"{V1}/agents/", {"personality": "cadet"}, format="json").status_code == 403
    assert client.post(f"{V1}/agents/one/retire/").status_code == 403
    assert client.delete(f"{V1}/agents/one/").status_code == 403
    assert client.post(f"{V1}/personalities/", {}, format="json").status_code == 403


@pytest.mark.django_db
def test_an_agent_is_made_and_retired_over_the_api() -> None:
    client = operator()
    made = client.post(f"{V1}/agents/", {"personality": "cadet", "name": "one"}, format="json")
    assert (made.status_code, made.json()["status"]) == (201, "idle")
    assert client.post(f"{V1}/agents/one/retire/").json()["status"] == "retired"
    again = client.post(f"{V1}/agents/one/retire/")
    assert (again.status_code, again.json()["state"]) == (409, "retired")


@pytest.mark.django_db
def test_agents_are_listed_in_the_same_queries(django_assert_num_queries: Any) -> None:
    for _ in range(10):
        create_agent(personality="cadet", actor="user:ada")
    client = reader()
    # Two for the session, two for the page, one for what they work on, four for their figures.
    with django_assert_num_queries(9):
        assert client.get(f"{V1}/agents/", {"status": "idle"}).json()["count"] == 10
    assert client.get(f"{V1}/agents/", {"personality": "senior"}).json()["count"] == 0
