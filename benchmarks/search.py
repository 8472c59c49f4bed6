"""Search: milliseconds to a page of results among 100,000 passages with vectors, and what indexing costs.

Limits beside it, in the same run: inserting the text of passages without an index, and the local model on a query and
on passages. Words are made up and spread as in language (Zipf), as nothing else says how often the words of a query
occur. Vectors are mixtures of those of the paragraphs of docs/, by the local model, with a little noise: so they lie
where vectors of that model lie. A query is embedded in the time that is told, unless it is told as asked again.
"""

import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from runners.backends.base import MessageFact
from runners.embedders import get_embedder
from runners.models import ChunkVector, EmbeddingModel, MessageChunk, Project, Runner, Session, WaitingChunk
from runners.services.conversation import add_messages
from runners.services.embedding import look_after_models
from runners.services.search import NO_FILTERS, Filters, search, similar_sessions
from runners.sql_vectors import create_index, drop_index, insert_vectors
from runners.states import Role, RunnerStatus, SearchMode

SESSIONS, MESSAGES, WORDS = 1_000, 100, 60
VOCABULARY, QUERIES = 30_000, 40
BATCH = 100
#: Of two vectors mixed, and noise as long as a third of them: the nearest of a query are like each other, not the same.
NOISE = 0.3
#: Vectors that are added while the index is there.
ADDED = 1_000

_random = random.Random(7)
_words = ["".join(_random.choices("abcdeghiklmnoprstuvz", k=_random.randint(4, 9))) for _ in range(VOCABULARY)]
_weights = list(itertools.accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))


def limits() -> dict[str, float]:
    """Return what this machine, PostgreSQL and the model do without search around it."""
    call_command("migrate", interactive=False, verbosity=0)
    texts = [_text() for _ in range(5_000)]
    begun = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE bare AS SELECT * FROM unnest(%s::text[]) AS text", [texts])
    bare = len(texts) / (time.perf_counter() - begun)
    local = get_embedder("local")
    local.embed(["it is loaded by its first text"])
    passages = _paragraphs()[:64]
    queries = [_snippet() for _ in range(QUERIES)]
    begun = time.perf_counter()
    local.embed(passages)
    return {
        "bare_rows_per_second": bare,
        "passages_embedded_per_second": len(passages) / (time.perf_counter() - begun),
        "words_of_a_passage": statistics.mean(len(passage.split()) for passage in passages),
        "query_embedded_p50_ms": statistics.median(_timed(partial(local.embed_query, query)) for query in queries),
    }


def figures() -> dict[str, float]:
    """Return messages and vectors entered a second, and milliseconds a query."""
    project = Project.objects.create(name=f"bench-{uuid4().hex[:8]}", path=f"/bench/{uuid4()}")
    half = SESSIONS // 2
    without = _enter(project, range(half))
    (model,) = look_after_models()
    waiting = _enter(project, range(half, SESSIONS))
    built = _vectors(model)
    with connection.cursor() as cursor:
        for table in ("messagechunk", "message", "chunkvector", "session", "runner", "waitingchunk"):
            cursor.execute(f"VACUUM ANALYZE runners_{table}")
    return {
        "chunks": float(MessageChunk.objects.count()),
        "vectors": float(ChunkVector.objects.count()),
        "messages_per_second": without,
        "messages_per_second_waiting_for_vectors": waiting,
        **built,
        **_queries(),
    }


def _queries() -> dict[str, float]:
    kinds: dict[str, Callable[[], str]] = {
        "rare_word": lambda: _among(2_000, VOCABULARY),
        "two_words": lambda: f"{_among(50, 1_000)} {_among(50, 1_000)}",
        "common_word": lambda: _among(0, 20),
        "phrase": lambda: f'"{_among(0, 50)} {_among(0, 50)}"',
    }
    found: dict[str, float] = {}
    for mode in (SearchMode.TEXT, SearchMode.HYBRID):
        each = {kind: [_timed(_search(make(), mode)) for _ in range(QUERIES)] for kind, make in kinds.items()}
        everything = [one for times in each.values() for one in times]
        found |= {f"{mode}_p50_ms": statistics.median(everything), f"{mode}_p95_ms": _p95(everything)}
        found |= {f"{mode}_{kind}_p50_ms": statistics.median(times) for kind, times in each.items()}
    asked = [_snippet() for _ in range(QUERIES)]
    times = [_timed(_search(query, SearchMode.VECTORS)) for query in asked]
    found |= {"vectors_p50_ms": statistics.median(times), "vectors_p95_ms": _p95(times)}
    found["vectors_asked_again_p50_ms"] = statistics.median(_timed(_search(q, SearchMode.VECTORS)) for q in asked)
    excluding = [f"{query} -{_among(20, 200)}" for query in asked]
    found["vectors_excluding_p50_ms"] = statistics.median(_timed(_search(q, SearchMode.VECTORS)) for q in excluding)
    for name, filters in (("one_agent", Filters(agent="bench-7")), ("half_of_all", Filters(role=Role.TOOL))):
        narrowed = [_timed(_search(_snippet(), SearchMode.HYBRID, filters)) for _ in range(QUERIES)]
        found[f"hybrid_{name}_p50_ms"] = statistics.median(narrowed)
    sessions = list(Session.objects.order_by("?")[:QUERIES])
    found["similar_p50_ms"] = statistics.median(_timed(partial(_similar, s)) for s in sessions)
    return found


def _enter(project: Project, numbers: range) -> float:
    spent = 0.0
    for n in numbers:
        session = Session.objects.create(project=project, backend="command")
        fields = {"argv": ["true"], "workspace": "/", "status": RunnerStatus.TERMINATED, "ended_at": timezone.now()}
        runner = Runner.objects.create(
            project=project,
            session=session,
            name=f"bench-{n}-{uuid4().hex[:6]}",
            agent_name=f"bench-{n % 100}",
            backend="command",
            **fields,
        )
        facts = [
            MessageFact(key=f"k{m}", role=(Role.ASSISTANT, Role.TOOL)[m % 2], text=_text(), at=timezone.now())
            for m in range(MESSAGES)
        ]
        begun = time.perf_counter()
        for start in range(0, MESSAGES, BATCH):
            add_messages(session, runner, facts[start : start + BATCH])
        spent += time.perf_counter() - begun
    return len(numbers) * MESSAGES / spent


def _vectors(model: EmbeddingModel) -> dict[str, float]:
    """Give every chunk a vector: most before the index is built, the last while it is there."""
    assert model.dimension
    drop_index(model.pk, model.dimension)
    # Not before: how many threads it takes is settled when it is first imported, by the embedder.
    import numpy as np

    seeds = np.array(get_embedder("local").embed(_paragraphs()), dtype=np.float32)
    ids = list(MessageChunk.objects.order_by("pk").values_list("pk", flat=True))
    for some in _batches(ids[:-ADDED], 1_000):
        insert_vectors(model.pk, some, _mixtures(seeds, len(some)))
    begun = time.perf_counter()
    create_index(model.pk, model.dimension)
    built = time.perf_counter() - begun
    spent = 0.0
    for some in _batches(ids[-ADDED:], 32):
        vectors = _mixtures(seeds, len(some))
        begun = time.perf_counter()
        insert_vectors(model.pk, some, vectors)
        spent += time.perf_counter() - begun
    WaitingChunk.objects.all().delete()
    EmbeddingModel.objects.filter(pk=model.pk).update(ready_at=timezone.now())
    return {"index_built_seconds": built, "vectors_added_per_second": ADDED / spent}


def _mixtures(seeds: Any, count: int) -> list[list[float]]:
    import numpy as np

    numbers = np.random.default_rng(_random.randrange(2**32))
    one, other = (seeds[numbers.integers(0, len(seeds), count)] for _ in range(2))
    share = numbers.random((count, 1))
    noise = numbers.standard_normal((count, seeds.shape[1])) * (NOISE / seeds.shape[1] ** 0.5)
    mixed = share * one + (1 - share) * other + noise
    vectors: list[list[float]] = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).tolist()
    return vectors


def _batches(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _paragraphs() -> list[str]:
    docs = sorted((Path(__file__).parent.parent / "docs").glob("**/*.md"))
    parts = [part for path in docs for part in path.read_text().split("\n\n")]
    return [" ".join(part.split()[:200]) for part in parts if len(part.split()) > 30][:150]


def _snippet() -> str:
    words = _random.choice(_paragraphs()).replace('"', " ").replace("-", " ").split()
    start = _random.randrange(max(1, len(words) - 6))
    return " ".join(words[start : start + 6])


def _text() -> str:
    return " ".join(_random.choices(_words, cum_weights=_weights, k=WORDS))


def _among(first: int, last: int) -> str:
    return _words[_random.randrange(first, last)]


def _search(query: str, mode: SearchMode, filters: Filters = NO_FILTERS) -> Callable[[], object]:
    return lambda: list(search(query, filters, mode)[:10])


def _similar(session: Session) -> Sequence[object]:
    return similar_sessions(session)[:5]


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1_000


def _p95(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]
