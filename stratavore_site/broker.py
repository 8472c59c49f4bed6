"""Celery's configuration: queues, delivery guarantees, and the beat's schedule.

Each node's worker adds its own queue `node.<name>`; a message to a node that is away waits there.
"""

from typing import Any

from django.conf import settings
from kombu import Queue

_amqp = bool(settings.AMQP_URL)

broker_url = settings.AMQP_URL or settings.REDIS_URL
broker_connection_retry_on_startup = True
#: For ever, a try each half minute in the end: after Celery's 100 a worker gives up, which is in 46 minutes.
broker_connection_max_retries = None
broker_transport_options: dict[str, Any] = (
    # Off by default in Celery: without confirms a broker under memory or disk alarm loses messages silently.
    {"confirm_publish": True}
    if _amqp
    # Valkey hands an unacknowledged task to another worker only after this long; the reconciler is faster.
    else {"visibility_timeout": 60, "global_keyprefix": "stratavore."}
)

#: Tasks of the control plane itself: reconciling, upkeep. A quorum queue survives the loss of one broker of three.
CONTROL_QUEUE = "stratavore.control"
#: Wake-ups of the outbox relay. The broker keeps at most one waiting; a lost one is made good by the beat.
#: A worker that is given this queue has a relay of its own, which hears them (relaying.py); they are no tasks.
WAKE_QUEUE = "outbox.wake"
#: Wake-ups of whoever sends webhooks: apart, so that receivers that are slow to answer hold up nothing else.
WEBHOOK_QUEUE = "outbox.webhooks"
#: Wake-ups of whoever gives vectors to what was said: a worker of its own, as that is work for the processor.
EMBED_QUEUE = "runners.embedding"
task_queues = [
    Queue(CONTROL_QUEUE, routing_key=CONTROL_QUEUE, queue_arguments={"x-queue-type": "quorum"} if _amqp else {}),
    Queue(WAKE_QUEUE, routing_key=WAKE_QUEUE, queue_arguments={"x-max-length": 1} if _amqp else {}),
    Queue(WEBHOOK_QUEUE, routing_key=WEBHOOK_QUEUE, queue_arguments={"x-max-length": 1} if _amqp else {}),
    Queue(EMBED_QUEUE, routing_key=EMBED_QUEUE, queue_arguments={"x-max-length": 1} if _amqp else {}),
]
task_default_queue = CONTROL_QUEUE
task_create_missing_queue_type = "quorum" if _amqp else "classic"
task_routes = {
    "outbox.tasks.relay": {"queue": WAKE_QUEUE},
    "outbox.tasks.send_webhooks": {"queue": WEBHOOK_QUEUE},
    "runners.tasks.embed_waiting": {"queue": EMBED_QUEUE},
}

task_ignore_result = True
task_acks_late = True
# acks_late alone still acknowledges a task whose process died by a signal.
task_reject_on_worker_lost = True
worker_prefetch_multiplier = 1
worker_hijack_root_logger = False
timezone = "UTC"

beat_scheduler = "stratavore_site.calm_beat:CalmScheduler"
beat_schedule = {
    # The safety beat of the outbox: should no relay hear the wake-ups, what waits goes out within a second. It is a
    # task of the control plane, so that any of its workers will do.
    "relay": {"task": "outbox.tasks.relay", "schedule": 1.0, "options": {"expires": 5, "queue": CONTROL_QUEUE}},
    # A point of the admin's chart.
    "sample-outbox": {"task": "outbox.tasks.sample", "schedule": 60.0, "options": {"expires": 60}},
    # Retries that fall due, and lost wake-ups.
    "send-webhooks": {"task": "outbox.tasks.send_webhooks", "schedule": 1.0, "options": {"expires": 5}},
    "send-notifications": {"task": "outbox.tasks.send_notifications", "schedule": 1.0, "options": {"expires": 5}},
    # What waits is started by the event that frees a place; this is for restarts that fall due and for lost wake-ups.
    "start-waiting": {"task": "runners.tasks.start_waiting", "schedule": 1.0, "options": {"expires": 5}},
    "seal-audit": {"task": "outbox.tasks.seal_audit", "schedule": 1.0, "options": {"expires": 5}},
    "seal-late-audit": {"task": "outbox.tasks.seal_audit", "args": [True], "schedule": 3600.0},
    "verify-audit": {"task": "outbox.tasks.verify_audit", "schedule": 600.0, "options": {"expires": 600}},
    # Some 10,000 acts a second: the log of a year at an act a second takes an hour.
    "verify-whole-audit": {"task": "outbox.tasks.verify_audit", "args": [True], "schedule": 86_400.0},
    # A spent budget acts at once; this is for periods that begin, raises that end, and for lost messages.
    "expire-approvals": {"task": "runners.tasks.expire_approvals", "schedule": 1.0, "options": {"expires": 5}},
    "watch-budgets": {"task": "runners.tasks.watch_budgets", "schedule": 1.0, "options": {"expires": 5}},
    # What is said wakes the embedder; this is for lost wake-ups, and for retries that fall due.
    "embed-waiting": {"task": "runners.tasks.embed_waiting", "schedule": 10.0, "options": {"expires": 10}},
    "queue-the-rest": {"task": "runners.tasks.queue_the_rest", "schedule": 3600.0, "options": {"expires": 3600}},
    "tend-outbox": {"task": "outbox.tasks.tend", "schedule": 10.0, "options": {"expires": 10}},
    "purge-outbox": {"task": "outbox.tasks.purge", "schedule": 3600.0, "options": {"expires": 3600}},
    # Work is given out by events; this is for what none tells, such as working hours that begin.
    "look-after-agents": {"task": "agents.tasks.look_after", "schedule": 30.0, "options": {"expires": 30}},
    "remove-transcripts": {
        "task": "runners.tasks.remove_transcripts",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "reconcile": {"task": "runners.tasks.reconcile", "schedule": 30.0, "options": {"expires": 30}},
}
