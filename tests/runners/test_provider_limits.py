"""A provider's limit holds everyone of the same account until its end, and nobody else, and never for ever."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from outbox.models import AuditEntry, Entry
from runners.backends import get_backend
from runners.backends.base import LaunchRequest
from runners.exceptions import MoveRefused, ProviderLimited
from runners.models import ProviderLimit, Runner, Session
from runners.services import launch_runner, stop_runner
from runners.services.credentials import credential_of, node_credentials, own_credential
from runners.services.ingest import ingest_all
from runners.services.provider_limits import clear_limit, start_anyway, wait_on, waiting_for
from runners.services.queue import restart_due, start_queued
from runners.services.telemetry import Batch
from runners.sql import database_now
from tests.callers import client_of, make_user, operator, reader
from tests.locks import somebody_waits_for_a_lock
from tests.runners.factories import make_node, make_project, make_runner
from tests.runners.teller import STARTED, Teller, hand_over, report, starting
from tests.runners.teller import teller as teller
from tests.stack import wait_until

pytestmark = pytest.mark.django_db
EXIT = {"t": 9.0, "kind": "exit", "code": 1, "signal": None, "reason": "exited"}


@pytest.fixture(autouse=True)
def provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Teller, "provider", "tellers")
    monkeypatch.setattr(Teller, "passes_environment", ("TELLER_API_KEY",))


def limited(runner: Runner, until: datetime | None = None, *, start: int = 10, ends: bool = False) -> None:
    """Hand over that the program was told to wait, and perhaps that it gave up."""
    about: dict[str, Any] = {"about": "rate_limited", "note": "The five hour limit is reached."}
    if until is not None:
        about["until"] = until.timestamp()
    hand_over(runner, report(**about), *([EXIT] if ends else []), start=start)


def running(**fields: Any) -> Runner:
    runner = starting(argv=[], **fields)
    hand_over(runner, STARTED)
    return Runner.objects.select_related("node", "project").get(pk=runner.pk)


def in_an_hour() -> datetime:
    return (database_now() + timedelta(hours=1)).replace(microsecond=0)


def launch(project: Any, *, on_limit: str = "wait", **fields: Any) -> Runner:
    return launch_runner(project.name, LaunchRequest(backend="teller", on_limit=on_limit, **fields), actor="user:ada")


def end_it() -> None:
    ProviderLimit.objects.update(until=database_now() - timedelta(seconds=1))


def test_a_launch_of_the_same_account_is_refused_with_the_end_or_waits_for_it() -> None:
    runner, until = running(), in_an_hour()
    limited(runner, until)
    with pytest.raises(ProviderLimited) as refused:
        launch(runner.project, on_limit="refuse")
    assert datetime.fromisoformat(refused.value.facts["until"]) == until
    waits = launch(runner.project)
    assert waits.status == "queued"
    assert waits.reason.startswith("waits: provider limit of Teller as signed in on ")
    assert f"until {until:%Y-%m-%d %H:%M:%S} UTC" in waits.reason
    assert start_queued() == 0
    end_it()
    assert start_queued() == 1
    waits.refresh_from_db()
    assert waits.status == "starting"


def test_another_account_does_not_wait() -> None:
    runner = running()
    limited(runner, in_an_hour())
    assert launch(runner.project, environment={"TELLER_API_KEY": "of its own"}).status == "starting"


def test_a_node_with_another_account_takes_the_launch() -> None:
    runner = running()
    limited(runner, in_an_hour())
    other = make_node(credentials={"teller": "key-another"})
    assert launch(runner.project).node == other


def test_one_key_is_one_account_wherever_it_is_used() -> None:
    runner = running(credential=own_credential(request_with("k1")), environment={"TELLER_API_KEY": "k1"})
    limited(runner, in_an_hour())
    make_node()
    assert launch(make_project(), environment={"TELLER_API_KEY": "k1"}).status == "queued"
    assert ProviderLimit.objects.get().label.startswith("Teller with key ")


def request_with(key: str) -> LaunchRequest:
    return LaunchRequest(backend="teller", environment={"TELLER_API_KEY": key})


def test_a_fingerprint_is_no_secret() -> None:
    own = own_credential(request_with("sk-very-secret"))
    node = make_node(credentials=node_credentials({"TELLER_API_KEY": "sk-very-secret"}))
    backend = get_backend("teller")
    assert "secret" not in own
    # The same key, of a launch or of the node's own environment, is the same account.
    assert credential_of(backend, own, node) == credential_of(backend, "", node)
    assert own != own_credential(request_with("sk-another"))


def test_those_that_wait_for_a_provider_hold_up_nobody_else() -> None:
    runner = running()
    limited(runner, in_an_hour())
    for _ in range(3):
        launch(runner.project)
    other = launch(make_project(quota=0), environment={"TELLER_API_KEY": "own"})
    other.project.quota.max_concurrent_runners = 1
    other.project.quota.save()
    assert start_queued() == 1


def test_who_goes_on_where_its_conversation_is_holds_up_nobody_who_may_go_elsewhere() -> None:
    project = make_project()
    runner = running(project=project, session=Session.objects.create(project=project, backend="teller"))
    hand_over(runner, report(session="their-id"), report(say="The limit is near.", key="m1"), start=10)
    limited(runner, in_an_hour(), start=30, ends=True)
    resumes = launch(runner.project, conversation_mode="resume", session_id=str(runner.session_id))
    other = make_node(slots=1, credentials={"teller": "key-another"})
    filler = make_runner(node=other)
    anywhere = launch(runner.project)
    assert (resumes.status, anywhere.status) == ("queued", "queued")
    Runner.objects.filter(pk=filler.pk).update(status="terminated", ended_at=database_now())
    assert start_queued() == 1
    for each in (resumes, anywhere):
        each.refresh_from_db()
    assert (resumes.status, anywhere.status, anywhere.node) == ("queued", "starting", other)
    assert resumes.reason.startswith("waits: provider limit of Teller as signed in on ")


def test_a_short_wait_is_the_programs_own_affair_and_a_past_one_is_over() -> None:
    runner = running()
    limited(runner, database_now() + timedelta(seconds=5))
    limited(runner, database_now() - timedelta(hours=1), start=20)
    assert not ProviderLimit.objects.exists()


def test_nobody_is_believed_who_says_for_ever() -> None:
    limited(running(), datetime(9000, 1, 1, tzinfo=UTC))
    assert ProviderLimit.objects.get().until < database_now() + timedelta(days=9)


def test_without_a_time_it_is_tried_again_after_pauses_that_double_up_to_a_cap() -> None:
    node = make_node()
    pauses = []
    for _ in range(8):
        limited(running(node=node), ends=True)
        limit = ProviderLimit.objects.get()
        pauses.append((limit.until - limit.reached_at).total_seconds())
        assert not limit.is_told
        end_it()
    assert 22 <= pauses[0] <= 30
    assert 44 <= pauses[1] <= 60
    assert all(pause <= 900 for pause in pauses)
    assert pauses[-1] > 600
    # Only an end counts as one: others that give up meanwhile wait for the same moment.
    limited(running(node=node), ends=True)
    hits = ProviderLimit.objects.get().hits
    limited(running(node=node), ends=True)
    assert ProviderLimit.objects.get().hits == hits


def test_a_program_that_still_tries_by_itself_holds_nobody() -> None:
    limited(running())
    assert not ProviderLimit.objects.exists()


@pytest.mark.parametrize("fields", [{"on_limit": "wait"}, {"restart_policy": "on_failure"}])
def test_who_gave_up_starts_again_when_the_limit_is_over(fields: dict[str, Any]) -> None:
    runner, until = running(**fields), in_an_hour()
    limited(runner, until, ends=True)
    runner.refresh_from_db()
    assert (runner.status, runner.restart_at) == ("failed", until)
    assert runner.reason.startswith("waits: provider limit until ")
    Runner.objects.update(restart_at=database_now())  # before its time it finds no place, and waits on
    assert restart_due() == 0
    runner.refresh_from_db()
    assert runner.restart_at == until
    ProviderLimit.objects.update(until=database_now() - timedelta(seconds=1))
    Runner.objects.update(restart_at=ProviderLimit.objects.get().until)
    assert restart_due() == 1
    runner.refresh_from_db()
    assert (runner.status, runner.generation) == ("starting", 2)


def test_who_waits_for_a_limit_that_is_prolonged_waits_for_its_new_end_and_goes_when_it_is_cleared() -> None:
    node, soon = make_node(), database_now() + timedelta(minutes=5)
    runner = running(node=node, on_limit="wait")
    limited(runner, soon, ends=True)
    until = in_an_hour()
    limited(running(node=node), until)
    Runner.objects.filter(pk=runner.pk).update(restart_at=database_now())  # five minutes later
    assert restart_due() == 0
    limit = ProviderLimit.objects.get()
    runner.refresh_from_db()
    assert (runner.restart_at, limit.until) == (until, until)
    assert runner.reason == f"waits: provider limit until {until:%Y-%m-%d %H:%M:%S} UTC; exit code 1"
    assert list(waiting_for(limit)) == [runner]
    clear_limit(limit.pk, actor="user:ada")
    wait_on(runner.pk, limit.pk)  # by one who looked before it was cleared
    assert restart_due() == 1


def test_who_does_not_wish_to_wait_has_failed() -> None:
    runner = running()
    limited(runner, in_an_hour(), ends=True)
    runner.refresh_from_db()
    assert (runner.status, runner.restart_at, runner.reason) == ("failed", None, "exit code 1")


def test_a_wait_can_be_ended_by_a_start_or_by_a_stop() -> None:
    runner = running(on_limit="wait")
    limited(runner, in_an_hour(), ends=True)
    queued, stays = launch(runner.project), launch(runner.project)
    for each in (runner, queued):
        start_anyway(each.pk, actor="user:ada")
    assert (restart_due(), start_queued()) == (1, 1)
    assert {each.status for each in Runner.objects.filter(pk__in=[runner.pk, queued.pk])} == {"starting"}
    assert not Runner.objects.filter(ignores_limit=True).exists()
    assert AuditEntry.objects.filter(action="runner.start_anyway", actor="user:ada").count() == 2
    stop_runner(stays.pk, actor="user:ada")
    with pytest.raises(MoveRefused, match="does not wait"):
        start_anyway(stays.pk, actor="user:ada")


def test_a_limit_is_ended_by_hand_on_record() -> None:
    runner = running(on_limit="wait")
    limited(runner, in_an_hour(), ends=True)
    launch(runner.project)
    limit = ProviderLimit.objects.get()
    clear_limit(limit.pk, actor="user:ada", reason="They raised it.")
    clear_limit(limit.pk, actor="user:bob")
    act = AuditEntry.objects.get(action="limit.clear")
    assert (act.actor, act.reason) == ("user:ada", "They raised it.")
    assert (restart_due(), start_queued()) == (1, 1)
    types = list(Entry.objects.filter(type__startswith="limit.").order_by("pk").values_list("type", flat=True))
    assert types == ["limit.reached", "limit.cleared"]


def test_the_same_news_again_is_none() -> None:
    node = make_node()
    until = in_an_hour()
    for _ in range(3):
        limited(running(node=node), until)
    assert Entry.objects.filter(type="limit.reached").count() == 1
    limited(running(node=node), until + timedelta(hours=1))
    assert ProviderLimit.objects.get().until == until + timedelta(hours=1)


@pytest.mark.django_db(transaction=True)
def test_two_programs_that_are_told_at_once_are_told_of_one_limit() -> None:
    node, until = make_node(), in_an_hour()
    runners = [running(node=node) for _ in range(4)]
    gate = threading.Barrier(len(runners))

    def tell(runner: Runner) -> None:
        try:
            gate.wait()
            limited(runner, until)
        finally:
            connection.close()

    threads = [threading.Thread(target=tell, args=[runner]) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ProviderLimit.objects.get().until == until
    assert Entry.objects.filter(type="limit.reached").count() == 1


@pytest.mark.django_db(transaction=True)
def test_limits_of_many_accounts_are_noted_in_one_order_whatever_was_heard_first() -> None:
    """Another node agent has noted the first, and is about to note the second."""
    runners = [running(node=make_node(credentials={"teller": f"key-{name}"})) for name in "ba"]
    for runner in runners:
        limited(runner, in_an_hour())
    later = report(about="rate_limited", until=(in_an_hour() + timedelta(hours=1)).timestamp())

    def hear() -> None:
        try:
            ingest_all([Batch(runner.pk, runner.generation, 20, 30, [later]) for runner in runners])
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            limits = ProviderLimit.objects.select_for_update().order_by("credential")
            assert limits[0].credential == "tellers:key-a"
            hearing = threads.submit(hear)
            wait_until(somebody_waits_for_a_lock, "the other has come to the first as well")
            assert [limit.credential for limit in limits] == ["tellers:key-a", "tellers:key-b"]
        hearing.result()
    assert all(limit.until > in_an_hour() for limit in ProviderLimit.objects.all())


def test_the_api_lists_limits_and_ends_them_by_permission() -> None:
    runner, until = running(on_limit="wait"), in_an_hour()
    limited(runner, until, ends=True)
    client = operator()
    (limit,) = client.get("/api/v1/provider-limits/", {"in_force": "true"}).json()["results"]
    assert (limit["in_force"], limit["runner_id"]) == (True, str(runner.pk))
    refused = client.post("/api/v1/runners/", {"project": runner.project.name, "backend": "teller"}, format="json")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/provider_limited")
    clear, anyway = f"/api/v1/provider-limits/{limit['id']}/clear/", f"/api/v1/runners/{runner.pk}/start_anyway/"
    assert reader().post(clear, {}, format="json").status_code == 403
    steward = client_of(make_user("steward", "runners.clear_limit"))
    assert steward.post(anyway).status_code == 403
    assert steward.post(clear, {"reason": "x"}, format="json").json()["in_force"] is False
    assert client.post(anyway).status_code == 202
    assert client.get("/api/v1/provider-limits/", {"in_force": "true"}).json()["results"] == []
