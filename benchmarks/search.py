"""Search: milliseconds to a page of results among 100,000 passages, and what indexing costs the entering of messages.

Limits beside it, in the same run: inserting the text of passages without an index. Words are made up and spread as in
language (Zipf), as nothing else says how often the words of a query occur.
"""

import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from runners.backends.base import MessageFact
from runners.models import Message, MessageChunk, Project, Runner, Session
from runners.services.conversation import add_messages
from runners.services.search import search
from runners.states import Role, RunnerStatus

SESSIONS, MESSAGES, WORDS = 1_000, 100, 60
VOCABULARY, QUERIES = 30_000, 40
BATCH = 100

_random = random.Random(7)
_words = ["".join(_random.choices("abcdeghiklmnoprstuvz", k=_random.randint(4, 9))) for _ in range(VOCABULARY)]
_weights = list(itertools.accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))


def limits() -> dict[str, float]:
    """Return what this machine and PostgreSQL do without search around it."""
    call_command("migrate", interactive=False, verbosity=0)
    texts = [_text() for _ in range(5_000)]
    begun = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE bare AS SELECT * FROM unnest(%s::text[]) AS text", [texts])
    return {"bare_rows_per_second": len(texts) / (time.perf_counter() - begun)}


def figures() -> dict[str, float]:
    """Return messages entered a second, and milliseconds a query."""
    entered = _enter()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE runners_messagechunk")
        cursor.execute("VACUUM ANALYZE runners_message")
    kinds: dict[str, Callable[[], str]] = {
        "rare_word": lambda: _among(2_000, VOCABULARY),
        "two_words": lambda: f"{_among(50, 1_000)} {_among(50, 1_000)}",
        "common_word": lambda: _among(0, 20),
        "phrase": lambda: f'"{_among(0, 50)} {_among(0, 50)}"',
    }
    each = {kind: [_milliseconds(make()) for _ in range(QUERIES)] for kind, make in kinds.items()}
    everything = [one for times in each.values() for one in times]
    return {
        "chunks": float(MessageChunk.objects.count()),
        "messages_per_second": entered,
        "p50_ms": statistics.median(everything),
        "p95_ms": _p95(everything),
        **{f"{kind}_p50_ms": statistics.median(times) for kind, times in each.items()},
    }


def _enter() -> float:
    project = Project.objects.create(name=f"bench-{uuid4().hex[:8]}", path=f"/bench/{uuid4()}")
    spent = 0.0
    for n in range(SESSIONS):
        session = Session.objects.create(project=project, backend="command")
        fields = {"argv": ["true"], "workspace": "/", "status": RunnerStatus.TERMINATED, "ended_at": timezone.now()}
        runner = Runner.objects.create(
            project=project, session=session, name=f"bench-{n}-{uuid4().hex[:6]}", backend="command", **fields
        )
        facts = [
            MessageFact(key=f"k{m}", role=Role.ASSISTANT, text=_text(), at=timezone.now()) for m in range(MESSAGES)
        ]
        begun = time.perf_counter()
        for start in range(0, MESSAGES, BATCH):
            add_messages(session, runner, facts[start : start + BATCH])
        spent += time.perf_counter() - begun
    return Message.objects.filter(session__project=project).count() / spent


def _text() -> str:
    return " ".join(_random.choices(_words, cum_weights=_weights, k=WORDS))


def _among(first: int, last: int) -> str:
    return _words[_random.randrange(first, last)]


def _milliseconds(query: str) -> float:
    begun = time.perf_counter()
    list(search(query)[:10])
    return (time.perf_counter() - begun) * 1_000


def _p95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]
