"""How well search finds: 200 small sessions, 60 questions, the real local model.

Most questions are asked in other words than the session has; some are names and numbers, where only words help. For
each the one session that answers it is known; it has to be among the first five.
"""

from pathlib import Path
from typing import Any

import pytest

from runners.backends.base import MessageFact
from runners.models import Session
from runners.services.conversation import add_messages
from runners.services.embedding import embed_waiting, look_after_models
from runners.services.search import search, similar_sessions
from runners.states import Role, SearchMode
from tests.runners.factories import make_runner
from tests.runners.test_search import NOON

CORPUS = Path(__file__).parent / "search_corpus"
FIRST = 5

pytestmark = [pytest.mark.django_db, pytest.mark.xdist_group("search quality")]


def lines(name: str) -> list[list[str]]:
    return [[part.strip() for part in line.split(" | ")] for line in (CORPUS / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def corpus(django_db_setup: None, django_db_blocker: Any) -> Any:
    """Enter all sessions once; every test only reads them."""
    from django.db import connection, transaction

    with django_db_blocker.unblock(), transaction.atomic():
        runner = make_runner()
        for key, asked, answered in lines("sessions.txt"):
            session = Session.objects.create(project=runner.project, backend="command", title=key)
            facts = [
                MessageFact(key=str(n), role=role, text=text, at=NOON)
                for n, (role, text) in enumerate([(Role.USER, asked), (Role.ASSISTANT, answered)])
            ]
            add_messages(session, runner, facts)
        look_after_models()
        while embed_waiting():
            pass
        yield
        transaction.set_rollback(True)
    connection.close()


def recall(mode: SearchMode) -> tuple[float, list[str]]:
    """Return the share of questions whose session is among the first, and the others."""
    missed = []
    for key, question in lines("questions.txt"):
        first = [result.session.title for result in search(question, mode=mode)[:FIRST] if result.session]
        if key not in first:
            missed.append(f"{key}: {question} -> {first}")
    return 1 - len(missed) / len(lines("questions.txt")), missed


def test_the_corpus_is_what_it_says() -> None:
    keys = [key for key, *_ in lines("sessions.txt")]
    assert len(keys) == len(set(keys)) == 200
    assert len(lines("questions.txt")) == 60
    assert {key for key, _ in lines("questions.txt")} <= set(keys)


def test_both_together_find_at_least_what_either_finds_and_nine_of_ten(corpus: None) -> None:
    found = {mode: recall(mode) for mode in SearchMode}
    for mode, (share, missed) in found.items():
        print(f"recall@{FIRST} {mode}: {share:.3f}", *missed, sep="\n  ")  # noqa: T201 - seen with -s
    hybrid = found[SearchMode.HYBRID][0]
    assert hybrid >= 0.9
    assert hybrid >= max(found[SearchMode.TEXT][0], found[SearchMode.VECTORS][0])


@pytest.mark.parametrize(
    ("key", "like"),
    [("celery-beat-twice", "dst-cron"), ("gdpr-delete", "gdpr-export"),
     ("docker-cache", "ci-cache"), ("xss-comment", "csp-inline")],
)  # fmt: skip
def test_sessions_about_the_same_are_similar(corpus: None, key: str, like: str) -> None:
    session = Session.objects.get(title=key)
    first = [result.session.title for result in similar_sessions(session)[:FIRST] if result.session]
    assert like in first
    assert key not in first
