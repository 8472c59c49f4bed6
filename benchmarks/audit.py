"""The audit log: what an act costs its transaction, and how fast acts are sealed and verified.

Limits beside it, in the same run: bare HMACs over a typical act, and inserting its row unsigned.
"""

import hmac
import os
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import uuid4

from django.core.management import call_command
from django.db import connection, transaction

from outbox.authenticity import canonical
from outbox.models import AuditEntry, AuditSeal
from outbox.services import record_act
from outbox.services.seal import seal_committed
from outbox.services.verify import verify

ACTS, HMACS = 5_000, 50_000
LAUNCH = {
    "backend": "claude_code",
    "runtime": "process",
    "model": "sonnet",
    "flags": ["--max-turns", "20"],
    "environment": {"API_KEY": "x"},
    "workspace": "/srv/workspaces/shop",
    "project": "shop",
    "node": "alpha",
}
ACT: dict[str, Any] = {"actor": "token:ada/ci", "target_type": "runner", "target_name": "claude-code-3f9c"}


def limits() -> dict[str, float]:
    """Return what this machine does without an audit log around it."""
    call_command("migrate", interactive=False, verbosity=0)
    content, key = canonical({**ACT, "after": LAUNCH, "uid": uuid4()}), os.urandom(32)
    begun = time.perf_counter()
    for _ in range(HMACS):
        hmac.digest(key, content, sha256)
    rate = HMACS / (time.perf_counter() - begun)
    return {"hmacs_per_second": rate, "unsigned_rows_ms": _each_ms(_insert)}


def figures() -> dict[str, float]:
    """Return milliseconds an act, and acts a second sealed and verified."""
    before = _size()
    act_ms = _each_ms(_act)
    sealed = _rate(lambda: seal_committed(everything=True))
    verified = _rate(lambda: verify().checked)
    return {
        "act_ms": act_ms,
        "sealed_per_second": sealed,
        "verified_per_second": verified,
        "bytes_per_act": (_size() - before) / ACTS,
    }


def _size() -> float:
    tables = [model._meta.db_table for model in (AuditEntry, AuditSeal)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(%s::text[]) AS name", [tables])
        return float((cursor.fetchone() or (0,))[0])


def _act() -> None:
    record_act("runner.launch", target_id=uuid4(), after=LAUNCH, **ACT)


def _insert() -> None:
    AuditEntry(
        action="runner.launch",
        source="system",
        target_id=str(uuid4()),
        after=LAUNCH,
        key_id="none",
        mac="0" * 64,
        **ACT,
    ).save(force_insert=True)


def _each_ms(act: Callable[[], None]) -> float:
    """Return milliseconds a call, in one transaction; the rows that are not signed go again."""
    with transaction.atomic():
        begun = time.perf_counter()
        for _ in range(ACTS):
            act()
        spent = time.perf_counter() - begun
        transaction.set_rollback(act is _insert)
    return 1_000 * spent / ACTS


def _rate(work: Callable[[], int]) -> float:
    begun = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - begun)
