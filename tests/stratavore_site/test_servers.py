"""The servers that the tests run on are the real ones."""

import os

import pytest
from amqp import Connection
from django.conf import settings
from django.db import connection
from kombu.utils.url import parse_url
from redis import Redis


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
def test_rabbitmq_speaks_amqp_in_this_workers_virtual_host(amqp_url: str) -> None:
    address = parse_url(amqp_url)
    host = f"{address['hostname']}:{address['port']}"
    with Connection(
        host, userid=address["userid"], password=address["password"], virtual_host=address["virtual_host"]
    ) as rabbit:
        assert rabbit.connected
