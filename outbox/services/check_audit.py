"""Verify the audit log by the clock, and remember how far it is whole."""

from datetime import timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from outbox.models import AuditCheck
from outbox.services.alert import alert
from outbox.services.verify import START, Checkpoint, verify
from outbox.states import Severity

#: Notes of older checks are of no use: the newest says how far the chain is whole.
KEPT_FOR = timedelta(days=90)

log = structlog.get_logger(__name__)


def _tell_once(finding: str) -> None:
    """Alert at the first check that finds it; the later ones find the same."""
    last = AuditCheck.objects.first()
    if last is None or last.whole:
        alert(Severity.CRITICAL, "The audit log is not what was written", finding, about="audit:log")


@transaction.atomic
def check_audit(*, everything: bool = False) -> AuditCheck:
    """Verify what was sealed since the last check, or everything, and note what was found."""
    last = None if everything else AuditCheck.objects.first()
    after = Checkpoint(last.position, last.mac) if last else START
    verdict = verify(after=after)
    if verdict.broken:
        log.error("audit_log_broken", finding=verdict.sentence())
        _tell_once(verdict.sentence())
    AuditCheck.objects.filter(at__lt=timezone.now() - KEPT_FOR).delete()
    return AuditCheck.objects.create(
        whole=verdict.broken is None,
        everything=after == START,
        position=verdict.head.position,
        mac=verdict.head.mac,
        finding=verdict.sentence() if verdict.broken else "",
    )
