"""What each child runs. The same as the units in deploy/, which start each from a command line."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from stratavore_site.broker import CONTROL_QUEUE, EMBED_QUEUE, WAKE_QUEUE, WEBHOOK_QUEUE
from stratavore_site.celery import app


def forked(state: Path) -> dict[str, Callable[[], object]]:
    """Return the children that are forks of this process, by name."""
    return {
        "worker": lambda: worker("control", [CONTROL_QUEUE, WAKE_QUEUE, WEBHOOK_QUEUE]),
        "node worker": lambda: worker("node", [f"node.{settings.NODE_NAME}"]),
        "embedder": embedder,
        "beat": lambda: beat(state / "beat-schedule"),
        "node agent": lambda: call_command("nodeagent"),
    }


def embedder() -> None:
    """Run the worker that gives vectors to what was said: behind all others where they want the processor too."""
    os.nice(10)
    worker("embedder", [EMBED_QUEUE], threads=1)


def worker(name: str, queues: Sequence[str], *, threads: int = 4) -> None:
    """Run a Celery worker. Threads: its tasks wait for database and broker, and a fork each would cost 100 MB."""
    app.worker_main(
        [
            "worker",
            f"--queues={','.join(queues)}",
            "--pool=threads",
            f"--concurrency={threads}",
            f"--hostname={name}@{settings.NODE_NAME}",
            "--loglevel=INFO",
            "--without-gossip",
            "--without-mingle",
        ]
    )


def beat(schedule: Path) -> None:
    """Run Celery's beat."""
    app.start(["beat", f"--schedule={schedule}", "--pidfile=", "--loglevel=WARNING"])
