"""Is it alive, and is it ready: two questions for load balancers, orchestrators and `make up`. Neither needs a login.

What is wrong is told in one sentence for each part; addresses and the drivers' words go to the log, not to strangers.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from celery.signals import heartbeat_sent
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu import Connection
from kombu.exceptions import KombuError
from redis import Redis, RedisError

from runners.models import Node
from runners.states import NodeStatus

logger = structlog.get_logger(__name__)

OK = "ok"
#: Sorted set in Valkey: Celery worker -> time of its last heartbeat.
WORKERS = "stratavore:workers"
#: A worker sends a heartbeat every 2 s (celery.worker.heartbeat), a node agent every 5 s (runners.node_agent.agent).
SILENT_SECONDS = 15
ANSWER_SECONDS = 2


class NotReady(Exception):
    """A sentence about one part."""


@require_safe
@never_cache
def live(request: HttpRequest) -> JsonResponse:
    """Say that this process answers: restart it if it does not."""
    return JsonResponse({"status": "live"})


@require_safe
@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """Say of each part whether it can do its work; 503 unless all can."""
    parts = {name: _look(name, check) for name, check in CHECKS.items()}
    is_ready = all(part == OK for part in parts.values())
    return JsonResponse(
        {"status": "ready" if is_ready else "not ready", "parts": parts}, status=200 if is_ready else 503
    )


def _look(name: str, check: Callable[[], None]) -> str:
    try:
        check()
    except NotReady as sentence:
        return str(sentence)
    except (DatabaseError, RedisError, KombuError, OSError) as reason:
        logger.warning("health.part_unreachable", part=name, reason=str(reason))
        return "it cannot be reached"
    return OK


def database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def migrations() -> None:
    """Look for migrations that are not applied, until there are none: then this process need not look again."""
    if _migrated:
        return
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise NotReady(f"{len(missing)} migrations are not applied: run `manage.py migrate`")
    _migrated.append(True)


_migrated: list[bool] = []


def redis() -> None:
    with _redis() as client:
        client.ping()


def broker() -> None:
    if settings.AMQP_URL:
        with Connection(settings.AMQP_URL, connect_timeout=ANSWER_SECONDS) as rabbitmq:
            rabbitmq.connect()


def workers() -> None:
    with _redis() as client:
        if not client.zcount(WORKERS, time.time() - SILENT_SECONDS, "+inf"):
            raise NotReady("no Celery worker has given a sign of life")


def nodes() -> None:
    since = timezone.now() - timedelta(seconds=SILENT_SECONDS)
    if not Node.objects.exclude(status=NodeStatus.OFFLINE).filter(last_seen_at__gte=since).exists():
        raise NotReady("no node agent has given a sign of life")


CHECKS: dict[str, Callable[[], None]] = {
    "database": database,
    "migrations": migrations,
    "redis": redis,
    "broker": broker,
    "workers": workers,
    "nodes": nodes,
}


def _redis() -> "Redis":
    return Redis.from_url(settings.REDIS_URL, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS)


@heartbeat_sent.connect
def note_worker(sender: Any, **_: Any) -> None:
    """Note, in a Celery worker, that it lives. Asking each worker by broadcast would cost the asker a second."""
    now = time.time()
    with _redis() as client, client.pipeline(transaction=False) as pipe:
        pipe.zadd(WORKERS, {sender.eventer.hostname: now})
        pipe.zremrangebyscore(WORKERS, 0, now - 20 * SILENT_SECONDS)
        pipe.execute()
