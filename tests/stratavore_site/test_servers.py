"""The servers that the tests run on are the real ones."""

import os
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from django.db import connection
from kombu import Connection
from redis import Redis

from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.processes import wait_until
from stratavore_site.embedded.rabbitmq import RabbitMQ, unpacked_script
from tests import servers
from tests.conftest import not_tested


@pytest.mark.django_db
def test_the_database_is_postgresql_18_and_takes_the_vector_extension() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        cursor.execute(
            "SELECT current_setting('server_version_num')::int / 10000, '[1,2,3]'::vector <-> '[1,2,5]'::vector"
        )
        assert cursor.fetchone() == (18, 2.0)


def test_each_worker_has_a_valkey_of_its_own() -> None:
    with Redis.from_url(settings.REDIS_URL) as valkey:
        valkey.set("who", os.environ.get("PYTEST_XDIST_WORKER", "main"))
        assert valkey.info("server")["server_name"] == "valkey"


@pytest.mark.broker
def test_rabbitmq_runs_unpacked_without_being_installed(tmp_path: Path) -> None:
    try:
        script = unpacked_script(servers.CACHE)
    except CannotStart as reason:
        not_tested("RabbitMQ unpacked from Debian's packages", str(reason), "Run it on Debian, with a network.")
    node = RabbitMQ(tmp_path / "rabbitmq", cache=servers.CACHE, script=script)
    try:
        with Connection(node.start()) as rabbit:
            rabbit.connect()
        assert node.process is not None
        assert Path(f"/proc/{node.process.pid}/exe").resolve().is_relative_to(servers.CACHE)
        left = [node.process.pid, *[child.pid for child in psutil.Process(node.process.pid).children(recursive=True)]]
    finally:
        node.kill()
    assert wait_until(lambda: not any(psutil.pid_exists(pid) for pid in left), seconds=10)


@pytest.mark.broker
def test_rabbitmq_speaks_amqp_in_this_workers_virtual_host(amqp_url: str) -> None:
    with Connection(amqp_url) as rabbit:
        rabbit.connect()
        expected = os.environ.get("PYTEST_XDIST_WORKER", "/")
        assert rabbit.virtual_host == expected or os.environ[servers.AMQP_VARIABLE]
