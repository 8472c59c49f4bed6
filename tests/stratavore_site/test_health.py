"""/health: alive without a question, ready only when every part is."""

from types import SimpleNamespace

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from runners.models import Node
from runners.states import NodeStatus
from stratavore_site import health

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_worker_yet() -> None:
    with Redis.from_url(settings.REDIS_URL) as valkey:
        valkey.delete(health.WORKERS)


def test_live_asks_nobody(client: Client) -> None:
    response = client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "live"})


def test_without_workers_and_nodes_it_is_not_ready_and_says_which_part_is_missing(client: Client) -> None:
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["parts"] == {
        "database": "ok",
        "migrations": "ok",
        "redis": "ok",
        "broker": "ok",
        "workers": "no Celery worker has given a sign of life",
        "nodes": "no node agent has given a sign of life",
    }


def test_with_a_worker_and_a_node_agent_it_is_ready(client: Client) -> None:
    health.note_worker(sender=SimpleNamespace(eventer=SimpleNamespace(hostname="control@here")))
    Node.objects.create(name="here", hostname="here", status=NodeStatus.ONLINE, last_seen_at=timezone.now())
    response = client.get("/health/ready")
    assert (response.status_code, response.json()["status"]) == (200, "ready")


def test_a_worker_that_fell_silent_does_not_count(client: Client) -> None:
    with Redis.from_url(settings.REDIS_URL) as valkey:
        valkey.zadd(health.WORKERS, {"control@here": timezone.now().timestamp() - health.SILENT_SECONDS - 1})
    assert client.get("/health/ready").json()["parts"]["workers"] != "ok"


def test_an_unreachable_broker_is_named_without_its_address(client: Client, settings: Settings) -> None:
    settings.AMQP_URL = "amqp://someone:secret@127.0.0.1:1/"
    response = client.get("/health/ready")
    assert response.json()["parts"]["broker"] == "it cannot be reached"
    assert b"secret" not in response.content


@pytest.mark.broker
def test_a_real_rabbitmq_is_a_broker_that_is_ready(client: Client, settings: Settings, amqp_url: str) -> None:
    settings.AMQP_URL = amqp_url
    assert client.get("/health/ready").json()["parts"]["broker"] == "ok"


def test_metrics_are_served_without_a_login(client: Client) -> None:
    assert b"django_http_requests_before_middlewares_total" in client.get("/metrics").content
