"""The outbox: how fast a backlog drains, and how soon a committed event is received.

Limits beside it, in the same run: publishing prepared messages with pipelined confirms, and a bare relay that does no
more than claim, publish and mark. RabbitMQ is AMQP_URL's, or a private node; a reader is attached throughout.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone
from kombu import Connection

from outbox.envelope import Outgoing
from outbox.models import Entry
from outbox.registry import register
from outbox.services.publish import Event, lane_of, publish, publish_many
from outbox.services.relay import relay_all
from outbox.sinks import exchange
from outbox.sinks.outcome import Outcome
from outbox.states import Kind, Status
from stratavore_site.embedded.postgres import Postgres
from stratavore_site.embedded.rabbitmq import RabbitMQ

#: Enough for some seconds of each, on two cores.
BACKLOG, BATCH, COMMITS, ROUNDS = 10_000, 500, 300, 3
RATES, SECONDS = (200, 1_000), 6
AGGREGATES = 500
DEADLINE_SECONDS = 120.0
TYPE = "bench.happened"
#: With the envelope 1 kB, as in the figures this is compared with.
PADDING = "x" * 600
QUEUE = f"bench-{uuid4().hex[:8]}"
WORKER = [
    *[sys.executable, "-m", "celery", "-A", "stratavore_site", "--quiet", "worker"],
    *["--pool=threads", "--concurrency=2", "--queues=outbox.wake"],
]

_until_exit = ExitStack()


def limits() -> dict[str, float]:
    """Return what this machine does without an outbox around it."""
    _prepare()
    with _reading():
        published = statistics.median(_publish_rate() for _ in range(ROUNDS))
    return {"pipelined_publishes_per_second": published, "commits_per_second": _rate(commit_row)}


def figures() -> dict[str, float]:
    """Return what the outbox does, in turns with a bare relay: so both meet the same weather."""
    with _reading():
        rounds = [(_drain(_bare_relay), _drain(relay_all)) for _ in range(ROUNDS)]
    commits = [(_rate(commit_row), _rate(commit_row_with_event)) for _ in range(ROUNDS)]
    relay_all()
    found = {
        "bare_relay_per_second": statistics.median(bare for bare, _ in rounds),
        "relay_per_second": statistics.median(relay for _, relay in rounds),
        "relay_to_bare_relay": statistics.median(relay / bare for bare, relay in rounds),
        "commits_with_publish_per_second": statistics.median(with_event for _, with_event in commits),
        "commits_with_publish_to_without": statistics.median(with_event / plain for plain, with_event in commits),
    }
    for rate in RATES:
        p50, p99 = _latency(rate)
        found |= {f"commit_to_received_p50_ms_at_{rate}": p50, f"commit_to_received_p99_ms_at_{rate}": p99}
    found |= _durable_writers()
    exchange.close()
    _until_exit.close()
    return found


def _durable_writers() -> dict[str, float]:
    """Return what writers lose by publishing, on a PostgreSQL that syncs its commits."""
    with tempfile.TemporaryDirectory(prefix="sv-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)  # root's server is not root, and has to pass through
        server = Postgres(Path(name) / "postgres")
        try:
            environment = {**os.environ, "DATABASE_URL": server.start()}
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks._writers"], env=environment, check=True, stdout=subprocess.PIPE
            )
        finally:
            server.stop(immediately=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _publish_rate() -> float:
    messages = [_outgoing(n) for n in range(BACKLOG)]
    begun = time.monotonic()
    for start in range(0, BACKLOG, BATCH):
        exchange.publish(messages[start : start + BATCH], Outcome())
    return BACKLOG / (time.monotonic() - begun)


def fill(count: int = BACKLOG) -> None:
    """Make a backlog of events, committed and not numbered."""
    with transaction.atomic():
        publish_many(
            Event(TYPE, f"bench:{n % AGGREGATES}", "bench", f"{TYPE}.x", {"at": 0.0, "padding": PADDING})
            for n in range(count)
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_entry")


def _prepare() -> None:
    if not settings.AMQP_URL:
        home = Path(_until_exit.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        node = RabbitMQ(home, cache=settings.BASE_DIR / ".stratavore" / "cache")
        _until_exit.callback(node.kill)
        # Before Celery reads its configuration.
        settings.AMQP_URL = os.environ["AMQP_URL"] = node.start()
    prepare_database()
    exchange.connect()
    _declare_queue()


def prepare_database() -> None:
    """Make the tables, and leave out what other apps hear of events; webhooks stay, though there are none."""
    settings.OUTBOX_LISTENERS, settings.OUTBOX_HANDLERS = [], {}
    call_command("migrate", interactive=False, verbosity=0)
    register_type()
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS bench_row (n integer, filling text)")


def register_type() -> None:
    register(TYPE, description="A measurement.", data={"at": "number", "padding": "string"})


def _declare_queue() -> None:
    with Connection(settings.AMQP_URL) as opened:
        channel: Any = opened.default_channel
        channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(QUEUE, settings.OUTBOX_EXCHANGE, f"{TYPE}.#")


def _drain(relay: Callable[[], object]) -> float:
    fill()
    begun = time.monotonic()
    while Entry.objects.pending().exists():
        relay()
    return BACKLOG / (time.monotonic() - begun)


def _bare_relay() -> None:
    """Claim, publish, mark: no lanes, no positions, no order, no retries."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, lane, event_id, kind, type, aggregate, subject, routing_key, data::text, traceparent,"
            " created_at, 0 FROM outbox_entry WHERE status = 'pending' ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED",
            [BATCH],
        )
        batch = [Outgoing(*row) for row in cursor.fetchall()]
        exchange.publish(batch, Outcome())
        cursor.execute(
            "UPDATE outbox_entry SET status = 'delivered', delivered_at = now(), sequence = id WHERE id = ANY(%s)",
            [[entry.id for entry in batch]],
        )
        cursor.execute("SELECT setval('outbox_position', max(id)) FROM outbox_entry")


def _latency(rate: int) -> tuple[float, float]:
    """Return the median and 99th percentile of milliseconds from commit to receipt, with a Celery worker relaying."""
    count = rate * SECONDS
    with _worker(), _empty_reader(count + 1) as reader:
        # The worker has to start first.
        _publish_one()
        _wait(lambda: not Entry.objects.pending().exists(), "the worker's first delivery")
        begun = time.monotonic()
        for n in range(count):
            pause = begun + n / rate - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            _publish_one()
        text, _ = reader.communicate(timeout=DEADLINE_SECONDS)
    arrivals = sorted(json.loads(text.splitlines()[-1]))[1:]
    waits = [(received - committed) * 1000 for committed, received in arrivals]
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    return cuts[49], cuts[98]


def _publish_one() -> None:
    # Taken just before the commit, so the commit itself counts as waiting.
    with transaction.atomic():
        data = {"at": time.time(), "padding": PADDING}
        publish(
            TYPE, aggregate=f"bench:{uuid4().int % AGGREGATES}", subject="bench", routing_key=f"{TYPE}.x", data=data
        )


@contextmanager
def _empty_reader(count: int) -> Iterator["subprocess.Popen[str]"]:
    """Run a reader that will tell of the next `count` events."""
    with Connection(settings.AMQP_URL) as opened:
        opened.default_channel.queue_purge(QUEUE)  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "benchmarks._reader", settings.AMQP_URL, QUEUE, str(count)]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if reader.stdout is None or reader.stdout.readline() != "reading\n":
            raise SystemExit("The reader could not begin.")
        yield reader
    finally:
        reader.kill()
        reader.wait()


@contextmanager
def _reading() -> Iterator[None]:
    """Run a reader in a process of its own, so that it does not share our interpreter."""
    reader = subprocess.Popen(
        [sys.executable, "-m", "benchmarks._reader", settings.AMQP_URL, QUEUE], stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        reader.terminate()
        reader.wait()


@contextmanager
def _worker() -> Iterator[None]:
    with (Path(settings.STATE_DIR) / "bench.log").open("ab") as log:
        worker = subprocess.Popen(WORKER, stdout=log, stderr=log)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


def _entry(n: int) -> Entry:
    aggregate = f"bench:{n % AGGREGATES}"
    return Entry(
        kind=Kind.EVENT,
        type=TYPE,
        aggregate=aggregate,
        lane=lane_of(aggregate),
        subject="bench",
        routing_key=f"{TYPE}.x",
        data={"at": 0.0, "padding": PADDING},
        status=Status.PENDING,
    )


def _outgoing(n: int) -> Outgoing:
    entry = _entry(n)
    return Outgoing(
        n,
        entry.lane,
        entry.event_id,
        entry.kind,
        entry.type,
        entry.aggregate,
        entry.subject,
        entry.routing_key,
        json.dumps(entry.data),
        "",
        timezone.now(),
        n,
    )


def commit_row() -> None:
    with transaction.atomic():
        _insert_row()


def _insert_row() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bench_row VALUES (1, %s)", [PADDING])


def commit_row_with_event() -> None:
    with transaction.atomic():
        _insert_row()
        publish(TYPE, aggregate="bench:1", subject="bench", routing_key=f"{TYPE}.x", data={"at": 0, "padding": PADDING})


def _rate(action: Callable[[], object]) -> float:
    begun = time.monotonic()
    for _ in range(COMMITS):
        action()
    return COMMITS / (time.monotonic() - begun)


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"Waited {DEADLINE_SECONDS:.0f} s for {what}: see {settings.STATE_DIR}/bench.log.")
        time.sleep(0.02)
