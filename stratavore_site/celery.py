"""The Celery application. Its configuration is broker.py, read when first needed."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stratavore_site.settings")

app = Celery("stratavore")
# "Current" is of one thread only: without a default, other threads would speak to a broker on localhost:5672.
app.set_default()
app.config_from_object("stratavore_site.broker")
app.autodiscover_tasks(["outbox", "runners", "agents"])


from runners.garbage import spare_what_stays  # noqa: E402
from stratavore_site import origin as origin  # noqa: E402 - tells the audit log which task acts
from stratavore_site import queue_check as queue_check  # noqa: E402 - a queue that is not as declared ends a worker
from stratavore_site import relaying as relaying  # noqa: E402 - a worker that serves the wake-ups relays


@setup_logging.connect
def keep_our_logs(**_: Any) -> None:
    """Keep Django's logging: Celery would otherwise put its own in place."""


@worker_ready.connect
def spare_what_is_imported(**_: Any) -> None:
    """Let the collector look at what tasks leave alone."""
    spare_what_stays()


@worker_process_init.connect
def forget_inherited_connections(**_: Any) -> None:
    """Give a forked worker process its own pool: connections are not shared between processes."""
    from django.db import connection

    connection.close_pool()  # type: ignore[attr-defined]
