"""Vectors of what is said: each chunk gets one, whatever the model, the network and other workers do."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone

from outbox.models import AuditEntry
from outbox.sinks import waker
from runners.embedders import _made
from runners.models import ChunkVector, EmbeddingModel, MessageChunk, Session, WaitingChunk
from runners.services.embedding import embed_waiting, look_after_models, progress, queue_the_rest, serving_model, work
from runners.services.embedding.choice import embedder_of
from runners.sql_vectors import claim, index_name
from tests.runners.embedders.endpoint import Endpoint, answer, refuse, serving, vector_of
from tests.runners.factories import make_runner
from tests.runners.test_search import say
from tests.stack import Stack, wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture
def endpoint(settings: Any) -> Iterator[Endpoint]:
    """An endpoint that the settings choose."""
    with serving() as found:
        use(settings, found, "letters")
        yield found
    _made.cache_clear()


def use(settings: Any, endpoint: Endpoint, model: str, dimension: int = 0) -> None:
    """Choose a model of the endpoint, as a restart with other settings would."""
    settings.EMBEDDER = "openai"
    settings.EMBEDDING_URL, settings.EMBEDDING_MODEL = endpoint.url, model
    settings.EMBEDDING_DIMENSION = dimension
    _made.cache_clear()


def only_model() -> EmbeddingModel:
    return EmbeddingModel.objects.get()


def asked_texts(endpoint: Endpoint) -> list[str]:
    return [text for body in endpoint.asked for text in body["input"]]


def test_what_is_said_gets_a_vector_of_its_model_and_dimension(endpoint: Endpoint) -> None:
    said = say(make_runner(), "abc")
    assert embed_waiting() is False
    model = only_model()
    assert (model.embedder, model.name, model.dimension) == ("openai", "letters", 3)
    (vector,) = ChunkVector.objects.select_related("chunk")
    assert vector.chunk.message_id == said.pk
    assert vector.model == model
    assert vector.embedding == pytest.approx(vector_of("abc"), abs=1e-3)
    assert model.ready_at is not None
    assert not WaitingChunk.objects.exists()


def test_the_local_model_needs_nothing_but_itself(settings: Any) -> None:
    settings.EMBEDDER = "local"
    say(make_runner(), "The invoices failed because the tax rate was missing.")
    embed_waiting()
    assert only_model().dimension == 384
    assert only_model().ready_at is not None
    assert len(ChunkVector.objects.get().embedding) == 384


def test_a_message_waits_from_the_transaction_that_enters_it(endpoint: Endpoint) -> None:
    look_after_models()
    runner = make_runner()
    with transaction.atomic():
        say(runner, "abc")
        assert WaitingChunk.objects.count() == 1
        transaction.set_rollback(True)
    assert not WaitingChunk.objects.exists()
    for _ in range(2):
        say(runner, "abc", key="once")
    assert WaitingChunk.objects.count() == 1


def test_an_entered_message_wakes_the_embedder_once_it_is_committed(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(waker, "ask", woken.append)
    with django_capture_on_commit_callbacks(execute=True):
        say(make_runner(), "nothing waits for vectors yet")
    assert woken == []
    look_after_models()
    with django_capture_on_commit_callbacks(execute=True):
        say(make_runner(), "one")
        say(make_runner(), "two")
    assert woken == ["runners.tasks.embed_waiting"]


def test_texts_go_in_batches_the_newest_first(endpoint: Endpoint) -> None:
    runner = make_runner()
    for n in range(40):
        say(runner, f"message {n}")
    embed_waiting()
    assert [len(body["input"]) for body in endpoint.asked] == [32, 8]
    assert endpoint.asked[0]["input"][0] == "message 39"
    assert ChunkVector.objects.count() == 40


def test_without_an_embedder_nothing_waits_and_what_there_is_stays(endpoint: Endpoint, settings: Any) -> None:
    say(make_runner(), "abc")
    embed_waiting()
    settings.EMBEDDER = "none"
    assert embed_waiting() is False
    say(make_runner(), "def")
    assert not WaitingChunk.objects.exists()
    assert ChunkVector.objects.count() == 1
    assert serving_model() is None
    settings.EMBEDDER = "openai"
    embed_waiting()
    assert ChunkVector.objects.count() == 2
    assert serving_model() == only_model()


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_model_that_cannot_be_had_is_left_alone_longer_each_time_and_loses_nothing(
    endpoint: Endpoint, status: int
) -> None:
    say(make_runner(), "abc")
    endpoint.reply = refuse(status, "busy")
    waits = []
    for _ in range(3):
        before = timezone.now()
        embed_waiting()
        model = only_model()
        assert model.paused_until is not None
        waits.append((model.paused_until - before).total_seconds())
        assert str(status) in model.last_error
        embed_waiting()  # it is left alone
        EmbeddingModel.objects.update(paused_until=timezone.now())
    assert len(endpoint.asked) == 3
    assert waits[0] < waits[1] < waits[2] < 30
    assert WaitingChunk.objects.get().attempts == 0
    endpoint.reply = answer()
    embed_waiting()
    assert ChunkVector.objects.count() == 1
    model = only_model()
    assert (model.failures, model.paused_until, model.last_error) == (0, None, "")


def test_a_wait_that_the_endpoint_asks_for_is_kept_up_to_an_hour(endpoint: Endpoint) -> None:
    say(make_runner(), "abc")
    for asked, kept in (("90", 90), ("999999", 3_600)):
        endpoint.reply = refuse(429, retry_after=asked)
        embed_waiting()
        paused = only_model().paused_until
        assert paused is not None
        assert abs((paused - timezone.now()).total_seconds() - kept) < 30
        EmbeddingModel.objects.update(paused_until=None)


def refuse_poison(body: dict[str, Any]) -> Any:
    if any("poison" in text for text in body["input"]):
        return refuse(400, "I cannot read that")(body)
    return answer()(body)


def test_a_text_that_is_refused_holds_no_other_up(endpoint: Endpoint) -> None:
    runner = make_runner()
    for n in range(5):
        say(runner, f"fine {n}")
    bad = say(runner, "poison")
    endpoint.reply = refuse_poison
    embed_waiting()
    assert ChunkVector.objects.count() == 5
    waiting = WaitingChunk.objects.get()
    assert waiting.chunk.message_id == bad.pk
    assert waiting.attempts == 2
    assert waiting.due_at is not None
    assert waiting.due_at > timezone.now() + timedelta(seconds=30)
    assert "I cannot read that" in waiting.error
    assert only_model().ready_at is not None, "what is refused alone keeps nobody from being searched"
    say(runner, "more")
    embed_waiting()
    assert ChunkVector.objects.count() == 6


def test_a_text_that_stays_refused_is_given_up_and_can_be_tried_again(endpoint: Endpoint, admin_client: Client) -> None:
    say(make_runner(), "poison")
    endpoint.reply = refuse_poison
    for _ in range(work.ATTEMPTS + 1):
        WaitingChunk.objects.update(due_at=timezone.now())
        embed_waiting()
    waiting = WaitingChunk.objects.get()
    assert waiting.due_at is None
    (found,) = progress()
    assert (found.embedded, found.waiting, found.refused) == (0, 0, 1)
    page = admin_client.get(f"/admin/runners/embeddingmodel/{only_model().pk}/change/").content.decode()
    assert "I cannot read that" in page
    endpoint.reply = answer()
    chosen = {"action": "try_again", "_selected_action": [str(only_model().pk)], "index": 0}
    admin_client.post("/admin/runners/embeddingmodel/", chosen)
    assert AuditEntry.objects.get(action="embedding.retry").after == {"chunks": 1}
    embed_waiting()
    assert ChunkVector.objects.count() == 1


def test_an_endpoint_that_refuses_everything_is_left_alone(endpoint: Endpoint) -> None:
    runner = make_runner()
    for n in range(50):
        say(runner, f"message {n}")
    endpoint.reply = refuse(400, "no such model")
    embed_waiting()
    assert len(endpoint.asked) == work.REFUSALS
    assert "no such model" in only_model().last_error
    endpoint.reply = answer()
    EmbeddingModel.objects.update(paused_until=None)
    WaitingChunk.objects.update(due_at=timezone.now())
    embed_waiting()
    assert ChunkVector.objects.count() == 50


@pytest.mark.parametrize("vector", [[0.0, 0.0, 0.0], [float("nan"), 1.0, 1.0]])
def test_a_vector_without_a_direction_is_no_vector(endpoint: Endpoint, vector: list[float]) -> None:
    say(make_runner(), "abc")
    endpoint.reply = lambda body: (200, {}, json.dumps({"data": [{"index": 0, "embedding": vector}]}).encode())
    embed_waiting()
    assert not ChunkVector.objects.exists()
    assert WaitingChunk.objects.get().attempts == 2


def test_another_length_than_before_stops_it_and_says_so(endpoint: Endpoint) -> None:
    runner = make_runner()
    say(runner, "abc")
    embed_waiting()
    endpoint.reply = answer(dimension=5)
    say(runner, "def")
    embed_waiting()
    assert "of 5 numbers, where 3 were due" in only_model().last_error
    assert ChunkVector.objects.count() == 1


def test_a_deleted_session_takes_its_vectors_along_also_while_they_are_made(endpoint: Endpoint) -> None:
    runner, other = make_runner(), make_runner()
    say(runner, "abc")
    say(other, "def")
    embed_waiting()
    say(runner, "ghi")
    say(other, "jkl")

    model = only_model()
    batch = claim(model.pk, room=10, lease_seconds=60)
    Session.objects.filter(runners=runner).delete()
    work._embed(model, embedder_of(model), batch)
    assert {vector.chunk.message.session_id for vector in ChunkVector.objects.all()} == {other.session_id}
    assert ChunkVector.objects.count() == 2
    assert not WaitingChunk.objects.exists()


def test_what_a_dead_worker_had_taken_is_taken_by_another(endpoint: Endpoint) -> None:
    say(make_runner(), "abc")
    (model,) = look_after_models()
    assert len(claim(model.pk, room=10, lease_seconds=60)) == 1
    embed_waiting()
    assert not ChunkVector.objects.exists()
    assert only_model().ready_at is None
    WaitingChunk.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    embed_waiting()
    assert ChunkVector.objects.count() == 1


def test_what_was_left_out_is_found_by_the_hourly_look(endpoint: Endpoint) -> None:
    say(make_runner(), "abc")
    embed_waiting()
    say(make_runner(), "def")
    WaitingChunk.objects.all().delete()
    assert queue_the_rest() == 1
    assert queue_the_rest() == 0
    embed_waiting()
    assert ChunkVector.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_new_model_embeds_all_anew_and_takes_over_when_it_has_all(endpoint: Endpoint, settings: Any) -> None:
    runner = make_runner()
    say(runner, "abc")
    embed_waiting()
    old = only_model()
    use(settings, endpoint, "sounds")
    endpoint.reply = lambda body: refuse(503)(body) if body["model"] == "sounds" else answer(dimension=3)(body)
    say(runner, "def")
    embed_waiting()
    new = EmbeddingModel.objects.get(name="sounds")
    assert serving_model() == old, "the old vectors serve"
    assert old.vectors.count() == 2, "and know what is said meanwhile"
    assert new.ready_at is None
    EmbeddingModel.objects.update(paused_until=None)
    endpoint.reply = answer(dimension=5)
    embed_waiting()
    new.refresh_from_db()
    assert serving_model() == new
    assert new.dimension == 5
    assert new.vectors.count() == 2
    say(runner, "ghi")
    embed_waiting()
    assert (new.vectors.count(), old.vectors.count()) == (3, 2)
    assert indexes() >= {index_name(old.pk, 3), index_name(new.pk, 5)}
    EmbeddingModel.objects.filter(pk=new.pk).update(ready_at=timezone.now() - timedelta(hours=1))
    embed_waiting()
    assert only_model() == new
    assert ChunkVector.objects.count() == 3
    assert index_name(new.pk, 5) in indexes()
    assert index_name(old.pk, 3) not in indexes()


def test_a_change_of_mind_midway_goes_back_to_what_there_is(endpoint: Endpoint, settings: Any) -> None:
    runner = make_runner()
    say(runner, "abc")
    embed_waiting()
    old = only_model()
    use(settings, endpoint, "sounds")
    endpoint.reply = lambda body: refuse(503)(body) if body["model"] == "sounds" else answer()(body)
    embed_waiting()
    use(settings, endpoint, "letters")
    say(runner, "def")
    embed_waiting()
    assert serving_model() == old
    assert old.vectors.count() == 2
    assert WaitingChunk.objects.count() == 0
    EmbeddingModel.objects.filter(pk=old.pk).update(ready_at=timezone.now() - timedelta(hours=1))
    embed_waiting()
    assert only_model() == old


@pytest.mark.django_db(transaction=True)
def test_the_same_model_with_another_length_is_another_model(endpoint: Endpoint, settings: Any) -> None:
    endpoint.reply = lambda body: answer(dimension=body.get("dimensions", 6))(body)
    say(make_runner(), "abc")
    embed_waiting()
    use(settings, endpoint, "letters", dimension=4)
    embed_waiting()
    assert set(EmbeddingModel.objects.values_list("dimension", "shortened")) == {(6, False), (4, True)}
    use(settings, endpoint, "letters")
    serving = serving_model()
    assert serving is not None
    assert serving.dimension == 6
    assert EmbeddingModel.objects.count() == 2


def test_a_class_of_ones_own_may_be_named_and_may_fail(settings: Any) -> None:
    settings.EMBEDDERS = {**settings.EMBEDDERS, "ours": "tests.runners.embedders.ours.OurEmbedder"}
    settings.EMBEDDER = "ours"
    _made.cache_clear()
    say(make_runner(), "abc")
    embed_waiting()
    assert ChunkVector.objects.get().embedding == [3.0, 1.0]
    say(make_runner(), "trip over this")
    embed_waiting()
    assert "IndexError" in only_model().last_error
    _made.cache_clear()


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'chunk\\_vector\\_%\\_hnsw'")
        return {name for (name,) in cursor.fetchall()}


def test_the_metrics_tell_how_far_each_model_is(endpoint: Endpoint, client: Client) -> None:
    runner = make_runner()
    say(runner, "abc")
    embed_waiting()
    say(runner, "def")
    page = client.get("/metrics").content.decode()
    assert 'stratavore_passages_embedded{model="letters"} 1.0' in page
    assert 'stratavore_passages_waiting{model="letters"} 1.0' in page
    assert 'stratavore_passages_refused{model="letters"} 0.0' in page


@pytest.mark.django_db(transaction=True)
def test_several_workers_share_what_waits_and_no_text_is_asked_twice(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner()
    for n in range(100):
        say(runner, f"message {n}")
    (model,) = look_after_models()
    monkeypatch.setattr(work, "_turn", AnyNumber())

    def run() -> None:
        try:
            work._embed_for(EmbeddingModel.objects.get(pk=model.pk), float("inf"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(asked_texts(endpoint)) == sorted(f"message {n}" for n in range(100))
    assert ChunkVector.objects.count() == 100
    assert only_model().ready_at is not None
    assert len(indexes()) >= 1


class AnyNumber:
    """A lock that lets everybody in, as locks of several processes would."""

    def acquire(self, blocking: bool = True) -> bool:
        return True

    def release(self) -> None:
        pass


@pytest.mark.django_db(transaction=True)
def test_a_worker_of_its_own_embeds_with_the_local_model(make_stack: Any) -> None:
    stack: Stack = make_stack()
    stack.commands["embedder"] = [*stack.commands["worker"]]
    stack.commands["embedder"][-2:] = ["--queues=runners.embedding", f"--hostname=embedder@{stack.node}"]
    stack.start("embedder", "beat")
    say(make_runner(), "The invoices failed because the tax rate was missing.")
    wait_until(lambda: ChunkVector.objects.count() == MessageChunk.objects.count() == 1, "the message has its vector")
