"""The audit log and notifications with real processes: what the beat and the worker make of an act and an alert."""

import json
from collections.abc import Callable

from django.db import transaction

from outbox.models import AuditCheck, AuditSeal, Notification, NotificationTarget
from outbox.services import alert
from outbox.services.targets import save_target
from outbox.services.verify import verify
from outbox.states import NotificationStatus, Severity
from outbox.tasks import verify_audit
from tests.outbox.receiver import receiving
from tests.outbox.tamper import act
from tests.stack import Stack, wait_until


def test_acts_are_sealed_and_alerts_arrive_without_anybody_asking(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8")
    stack.start("worker", "beat")
    with receiving() as receiver:
        save_target(
            NotificationTarget(),
            name="ops",
            url=f"json://127.0.0.1:{receiver.port}/hook",
            rules=[{"event_types": ["system.alert"], "severity": "critical"}],
            settle_seconds=1,
            actor="user:ada",
        )
        done = act(1)
        with transaction.atomic():
            alert(Severity.WARNING, "nobody is told of this")
            alert(Severity.CRITICAL, "the house is on fire")
        wait_until(lambda: AuditSeal.objects.filter(entry_id=done.pk).exists(), "the act is sealed")
        wait_until(lambda: receiver.requests, "the alert arrived")
        wait_until(
            lambda: Notification.objects.filter(status=NotificationStatus.SENT).exists(),
            "the log says that it was sent",
        )
    assert [json.loads(request.body)["title"] for request in receiver.requests] == ["the house is on fire"]
    assert verify().broken is None
    verify_audit.delay()
    wait_until(lambda: AuditCheck.objects.filter(whole=True).exists(), "the chain was verified by a worker")
