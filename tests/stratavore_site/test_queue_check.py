"""A worker whose queue is on RabbitMQ in another way says so, and ends."""

import os
import subprocess

import pytest

from tests.outbox.stream import channel_of
from tests.stack import CELERY, PROJECT

pytestmark = pytest.mark.broker
QUEUE = "node.queue-check"


def worker(url: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "AMQP_URL": url}
    command = [*CELERY, "worker", "--pool=threads", "--concurrency=1", f"--queues={QUEUE}", "--hostname=check@here"]
    return subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=90, check=False
    )


def test_a_queue_of_another_kind_is_named_with_what_to_do(amqp_url: str) -> None:
    with channel_of(amqp_url) as channel:
        channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "classic"})
        try:
            ended = worker(amqp_url)
        finally:
            channel.queue_delete(QUEUE)
    assert ended.returncode != 0
    assert f"The queue {QUEUE} is on the broker already" in ended.stdout + ended.stderr
    assert "Delete it on the broker" in ended.stdout + ended.stderr
