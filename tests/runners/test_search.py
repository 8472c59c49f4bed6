"""Search: what was said is found again, by whom it may be, and whatever is typed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command

from runners.backends.base import MessageFact
from runners.models import Message, MessageChunk, Runner, Session
from runners.services.conversation import add_messages
from runners.services.excerpts import START, STOP, excerpt
from runners.services.search import RANKED, Filters, search
from runners.services.search_index import CHUNK_CHARACTERS, INDEXED_CHARACTERS, WORDS_PER_CHUNK, Said, chunks_of, index
from tests.callers import client_of, reader
from tests.runners.factories import make_project, make_runner

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEARCH = "/api/v1/search/"


def say(runner: Runner, text: str, **fields: Any) -> Message:
    """Have something said in a runner's session, the way telemetry enters it."""
    assert runner.session is not None
    key = fields.pop("key", f"k{Message.objects.count()}")
    add_messages(
        runner.session, runner, [MessageFact(**{"key": key, "role": "assistant", "at": NOON, "text": text, **fields})]
    )
    return Message.objects.get(session=runner.session, key=key)


def found_in(text: str, **filters: Any) -> list[Any]:
    return [result.session_id for result in search(text, Filters(**filters))]


def marked(text: str) -> list[str]:
    """Return what is marked in the best hit."""
    return [part.text for part in search(text)[0].hits[0].excerpt if part.match]


def test_a_message_is_found_as_soon_as_it_is_entered() -> None:
    one, other = make_runner(), make_runner()
    said = say(one, "The invoices failed because the tax rate was missing.")
    say(other, "All is well.")
    (result,) = search("failing invoice")
    assert result.session == one.session
    assert [hit.message_id for hit in result.hits] == [said.pk]
    assert [part.text for part in result.hits[0].excerpt if part.match] == ["invoices", "failed"]


def test_a_repeated_message_is_indexed_once() -> None:
    runner = make_runner()
    for _ in range(2):
        say(runner, "once only", key="same")
    assert MessageChunk.objects.count() == 1


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ("tax rate", True),
        ('"tax rate"', True),
        ('"rate tax"', False),
        ("tax -invoices", False),
        ("tax -refund", True),
        ("nothing OR tax", True),
        ("tax nothing", False),
        ("prices.py", True),
        ("shop/prices.py", True),
        ("-prices.py", False),
        ("tax -orders.py", True),
        ("round_half_up", True),
        ("half", True),
        ("--check", True),
        ('tax -"rate tax"', True),
        ('tax -"tax rate"', False),
        ('nothing OR "tax rate"', True),
        ("div", True),
    ],
)
def test_words_phrases_exclusions_and_names_in_code(query: str, finds: bool) -> None:
    say(
        make_runner(), 'The tax rate of invoices: src/shop/prices.py calls round_half_up, <div class="x">, make --check'
    )
    assert bool(found_in(query)) is finds


def test_what_a_tool_was_called_with_is_found() -> None:
    call = {"command": "git push --force", "edits": [{"new": "teapot"}], "limit": 418, "note": None}
    say(make_runner(), "", tool_name="Bash", tool_input=call)
    for query in ("git push", "teapot", "418", "bash"):
        assert len(found_in(query)) == 1


@pytest.mark.parametrize(
    "query",
    ["", " ", "\x00", "ta\x00x", '"', '""', '"open', "a'b\"c", "& | ! <-> :*", "((((", "-", "OR", "-OR -", "\\",
     "%s %(x)s", "the", "x" * 100_000, "tax " * 5_000, "<script>", "'; DROP TABLE runners_message; --",
     "\ue000tax\ue001", "naïve 日本語 \u202e", '- -"', '-"', "a/-/b"],
)  # fmt: skip
def test_whatever_is_typed_is_a_search(query: str) -> None:
    say(make_runner(), "The tax of naïve 日本語 \ue000crabs\ue001")
    list(search(query))


def test_marks_in_a_text_of_itself_mark_nothing() -> None:
    say(make_runner(), "see \ue000apples\ue001 and \x00 <b>pears</b>")
    assert marked("pears") == ["pears"]
    assert marked("apples") == ["apples"]


def test_the_excerpt_is_the_text_itself_around_the_matches() -> None:
    text = "filler words " * 60 + "then src/queue.py <em>broke</em> badly " + "more filler " * 30
    say(make_runner(), text)
    parts = search("queue.py")[0].hits[0].excerpt
    assert [part.text for part in parts if part.match] == ["queue", "py"]
    whole = "".join(part.text for part in parts)
    assert "then src/queue.py <em>broke</em> badly" in whole
    assert whole.startswith("… ")
    assert whole.endswith(" …")
    assert len(whole) < 300


def test_an_excerpt_without_matches_is_the_beginning() -> None:
    assert [part.text for part in excerpt("short", "short")] == ["short"]
    assert [part.match for part in excerpt("a b", f"{START}a{STOP} b")] == [True, False]


def test_the_session_that_says_it_best_goes_first() -> None:
    vague, clear = make_runner(), make_runner()
    say(clear, "deadlock deadlock: the deadlock was in the queue")
    say(vague, "a long tale " * 20 + " deadlock")
    assert found_in("deadlock") == [clear.session_id, vague.session_id]


def test_a_session_shows_its_three_best_messages_and_counts_them_all() -> None:
    runner = make_runner()
    for n in range(5):
        say(runner, "deadlock " * (n + 1))
    say(runner, "filler " * 300 + "deadlock " * 250)  # three chunks of one message
    (result,) = search("deadlock")
    assert result.hit_count == 6
    assert len({hit.message_id for hit in result.hits}) == 3


def test_filters_narrow_and_combine() -> None:
    shop, depot = make_project(name="shop"), make_project(name="depot")
    first = make_runner(project=shop, agent_name="ada")
    second = make_runner(project=depot, agent_name="bob")
    say(first, "crane", at=NOON)
    say(second, "crane", at=NOON + timedelta(days=1), role="tool", tool_name="Bash")
    Session.objects.filter(runners=second).update(backend="codex")
    only_second: list[dict[str, Any]] = [
        {"project": "depot"}, {"agent": "bob"}, {"backend": "codex"}, {"tool": "Bash"}, {"role": "tool"},
        {"since": NOON + timedelta(seconds=1)}, {"project": "depot", "role": "tool", "agent": "bob"},
    ]  # fmt: skip
    for filters in only_second:
        assert found_in("crane", **filters) == [second.session_id], filters
    assert found_in("crane", until=NOON + timedelta(days=1)) == [first.session_id]
    assert found_in("crane", project="shop", agent="bob") == []
    assert len(found_in("crane")) == 2


def test_of_very_many_matches_the_newest_are_ranked_and_that_is_said() -> None:
    old, new = make_runner(), make_runner()
    say(old, "common")
    assert not search("common").cut
    message = say(new, "common")
    message.chunks.all().delete()
    MessageChunk.objects.bulk_create(MessageChunk(message=message, position=n, text="common") for n in range(RANKED))
    found = search("common")
    assert found.cut
    assert [result.session_id for result in found] == [new.session_id]


def test_chunks_hold_all_of_a_text_and_are_never_too_large() -> None:
    text = "  one two\n\nthree " + "word " * 1000 + "x" * 7000 + " end  "
    chunks = list(chunks_of(text))
    assert "".join(chunks).strip() == text.strip()
    assert max(map(len, chunks)) <= CHUNK_CHARACTERS
    assert max(len(chunk.split()) for chunk in chunks) <= WORDS_PER_CHUNK
    assert list(chunks_of(" \n ")) == list(chunks_of("")) == []


def test_a_huge_output_is_searched_up_to_a_bound_and_a_deep_input_is_no_trouble() -> None:
    deep: Any = "bottom"
    for _ in range(500):
        deep = [deep]
    say(make_runner(), "early " + "x" * INDEXED_CHARACTERS + " late", tool_input=deep)
    assert len(found_in("early")) == len(found_in("bottom")) == 1
    assert found_in("late") == []


def test_history_from_before_is_indexed_once_by_the_command() -> None:
    runner = make_runner()
    say(runner, "from now")
    assert runner.session_id is not None
    for key, text in (("old", "said yesterday"), ("empty", "")):
        Message.objects.create(session_id=runner.session_id, runner=runner, key=key, role="user", text=text, at=NOON)
    assert found_in("yesterday") == []
    call_command("searchindex", verbosity=0)
    call_command("searchindex", verbosity=0)
    assert found_in("yesterday") == [runner.session_id]
    assert MessageChunk.objects.count() == 2
    assert index([Said(Message.objects.get(key="old").pk, "said yesterday", "", None)]) == 1
    assert MessageChunk.objects.count() == 2


def test_the_api_answers_pages_of_sessions_with_excerpts() -> None:
    runners = [make_runner() for _ in range(12)]
    for runner in runners:
        say(runner, "the <b>crane</b> turned")
    api = reader()
    first = api.get(SEARCH, {"q": "crane"}).json()
    assert first["count"] == 12
    assert len(first["results"]) == 10
    assert {"text": "crane", "match": True} in first["results"][0]["hits"][0]["excerpt"]
    second = api.get(first["next"]).json()
    seen = {result["session_id"] for page in (first, second) for result in page["results"]}
    assert seen == {str(runner.session_id) for runner in runners}
    assert api.get(SEARCH, {"q": "crane", "page": "9"}).status_code == 404
    assert len(api.get(SEARCH, {"q": "crane", "page_size": "3"}).json()["results"]) == 3


@pytest.mark.parametrize(
    "wrong",
    [{}, {"q": ""}, {"q": "x" * 501}, {"q": "a\x00b"}, {"q": "a", "role": "pope"}, {"q": "a", "since": "yesterday"}],
)
def test_the_api_refuses_what_makes_no_sense_and_names_the_field(wrong: dict[str, str]) -> None:
    answer = reader().get(SEARCH, wrong)
    assert answer.status_code == 400
    assert {"q", "role", "since"} & set(str(answer.json()).replace("'", " ").split())


def test_the_api_filters() -> None:
    say(make_runner(project=make_project(name="shop")), "crane")
    say(make_runner(), "crane", role="user")
    api = reader()
    assert api.get(SEARCH, {"q": "crane", "project": "shop"}).json()["count"] == 1
    assert api.get(SEARCH, {"q": "crane", "role": "user"}).json()["count"] == 1
    assert api.get(SEARCH, {"q": "crane", "since": "2026-03-01T12:00:01Z"}).json()["count"] == 0


def test_search_is_for_those_who_are_signed_in() -> None:
    assert client_of().get(SEARCH, {"q": "crane"}).status_code == 401


def test_a_page_of_results_takes_the_same_queries_however_much_is_found(django_assert_num_queries: Any) -> None:
    for count in (1, 9):
        for _ in range(count):
            say(make_runner(), "crane " * 3)
        with django_assert_num_queries(4):
            assert search("crane")[:10]
