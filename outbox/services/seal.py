"""Give committed acts their place in the audit log's chain."""

from django.db import connection, transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from outbox import sql
from outbox.authenticity import sign, signing_key
from outbox.models import AuditEntry, AuditSeal

#: Acts sealed in one transaction: about 0.1 s.
CHUNK = 2_000
#: Ids are taken before commit, so one behind the newest may still appear. So far back each sealing looks (3 ms);
#: what takes longer than as many acts is found by the hourly look at everything, and by verify().
LOOK_BACK = 10_000


def seal_committed(*, everything: bool = False) -> int:
    """Seal what has committed, in the order of ids; return how many. Late committers come after what was sealed.

    Call it outside a transaction; inside one, others would wait for its end.
    """
    total = 0
    while _unsealed(everything).exists():
        sealed = _seal_chunk(everything)
        total += sealed
        if sealed < CHUNK:
            break
    return total


def unsealed() -> QuerySet[AuditEntry]:
    """Return the acts that have no place in the chain yet."""
    return AuditEntry.objects.filter(seal__isnull=True)


def seal_content(seal: AuditSeal, previous_mac: str) -> dict[str, object]:
    """Return what a seal signs: the entry, its place, and the seal before it."""
    return {
        "position": seal.position,
        "entry": seal.entry_id,
        "entry_mac": seal.entry_mac,
        "sealed_at": seal.sealed_at,
        "previous": previous_mac,
    }


@transaction.atomic
def _seal_chunk(everything: bool) -> int:
    # Separate statements: each sees what the holder of the lock before us has committed.
    with connection.cursor() as cursor:
        cursor.execute(sql.LOCK_FOR_TRANSACTION, [sql.SEALING_LOCK])
    waiting = list(_unsealed(everything).order_by("id").values_list("id", "mac")[:CHUNK])
    head = AuditSeal.objects.order_by("-position").first()
    last, mac = (head.position, head.mac) if head else (0, "")
    now, key_id = timezone.now(), signing_key()
    seals = []
    for position, (entry_id, entry_mac) in enumerate(waiting, start=last + 1):
        seal = AuditSeal(position=position, entry_id=entry_id, entry_mac=entry_mac, sealed_at=now, key_id=key_id)
        seal.mac = mac = sign(seal_content(seal, mac), key_id)
        seals.append(seal)
    AuditSeal.objects.bulk_create(seals)
    return len(seals)


def _unsealed(everything: bool) -> QuerySet[AuditEntry]:
    if everything:
        return unsealed()
    newest = AuditEntry.objects.aggregate(top=Max("id"))["top"] or 0
    return unsealed().filter(id__gt=newest - LOOK_BACK)
