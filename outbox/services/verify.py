"""Find the first row of the audit log that is not what was written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Max

from outbox.authenticity import is_signed
from outbox.exceptions import UnknownAuditKey
from outbox.models import AuditEntry, AuditSeal
from outbox.models.audit import SIGNED
from outbox.services.seal import seal_committed, seal_content, unsealed

#: Rows read at once: some 5 MB.
CHUNK = 2_000
COLUMNS = ("id", *SIGNED, "key_id", "mac")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """How far the chain reached once, to be kept where nobody who can write the database can write."""

    position: int
    mac: str

    def __str__(self) -> str:
        return f"{self.position}:{self.mac}"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read what str() wrote. Raises ValueError."""
        position, _, mac = text.strip().partition(":")
        if not (position.isascii() and position.isdigit() and len(position) < 19 and len(mac) in {0, 64}):
            raise ValueError("A checkpoint looks like 42:<64 hexadecimal digits>.")
        return cls(int(position), mac)


START = Checkpoint(0, "")


@dataclass(frozen=True)
class Broken:
    """The first row that is wrong, and how."""

    what: str
    position: int | None = None
    entry_id: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What was found. `head` is the last position up to which everything is as it was written."""

    head: Checkpoint
    checked: int
    unsealed: int
    complete: bool
    broken: Broken | None = None

    def sentence(self) -> str:
        """Return the verdict in words."""
        if self.broken is None:
            return f"verified up to position {self.head.position}, {self.unsealed} not sealed yet."
        named = (("position", self.broken.position), ("entry", self.broken.entry_id))
        where = ", ".join(f"{name} {number}" for name, number in named if number is not None)
        return f"{where}: {self.broken.what}. Whole up to position {self.head.position}."


class _Tampered(Exception):
    def __init__(self, broken: Broken) -> None:
        self.broken = broken


def take_checkpoint() -> Checkpoint:
    """Seal what is there, and return how far the chain reaches now."""
    seal_committed(everything=True)
    head = AuditSeal.objects.order_by("-position").first()
    return Checkpoint(head.position, head.mac) if head else START


def verify(*, checkpoint: Checkpoint | None = None, after: Checkpoint = START, limit: int | None = None) -> Verdict:
    """Walk the chain from `after` (by default its beginning) and tell the first broken row.

    A `checkpoint` shows what was cut off or written anew since it was taken. With a `limit` so many rows are looked at,
    and `head` is where to go on; only a whole walk also looks at what is not sealed yet. Writes nothing.
    """
    checked, head = 0, after
    try:
        _check_beginning(after)
        for seal, entry in _links(after.position):
            if checked == limit:
                return Verdict(head, checked, unsealed().count(), complete=False)
            _check_link(seal, entry, head)
            head = Checkpoint(seal.position, seal.mac)
            checked += 1
            if checkpoint and checkpoint.position == head.position and checkpoint.mac != head.mac:
                raise _Tampered(
                    Broken(
                        "the chain was written anew: this is not the seal of the checkpoint",
                        seal.position,
                        seal.entry_id,
                    )
                )
        _check_end(head, checkpoint)
        _check_unsealed()
        if after == START:
            _check_copies()
    except _Tampered as found:
        return Verdict(head, checked, unsealed().count(), complete=True, broken=found.broken)
    return Verdict(head, checked, unsealed().count(), complete=True)


def _links(position: int) -> Iterator[tuple[AuditSeal, Row | None]]:
    """Yield the seals past `position` in order, each with its entry's columns if that is there."""
    while True:
        seals = list(AuditSeal.objects.filter(position__gt=position).order_by("position")[:CHUNK])
        found = AuditEntry.objects.filter(pk__in=[seal.entry_id for seal in seals]).values(*COLUMNS)
        entries = {entry["id"]: entry for entry in found}
        for seal in seals:
            yield seal, entries.get(seal.entry_id)
        if len(seals) < CHUNK:
            return
        position = seals[-1].position


def _is_genuine(entry: Row) -> bool:
    return is_signed({name: entry[name] for name in SIGNED}, entry["key_id"], entry["mac"])


def _check_link(seal: AuditSeal, entry: Row | None, previous: Checkpoint) -> None:
    if seal.position != previous.position + 1:
        raise _Tampered(Broken("the seal was deleted", previous.position + 1))
    where = {"position": seal.position, "entry_id": seal.entry_id}
    try:
        if not is_signed(seal_content(seal, previous.mac), seal.key_id, seal.mac):
            raise _Tampered(Broken("the seal was changed, or is not the one that followed", **where))
        if entry is None:
            raise _Tampered(Broken("the entry was deleted", **where))
        if not _is_genuine(entry):
            raise _Tampered(Broken("the entry was changed, or inserted without the key", **where))
        if entry["mac"] != seal.entry_mac:
            raise _Tampered(Broken("another entry stands where this one was sealed", **where))
    except UnknownAuditKey as unknown:
        raise _Tampered(Broken(str(unknown), **where)) from None


def _check_beginning(after: Checkpoint) -> None:
    if after != START and not AuditSeal.objects.filter(position=after.position, mac=after.mac).exists():
        raise _Tampered(
            Broken("the chain was cut off or written anew: the seal to go on from is not there", after.position)
        )


def _check_end(head: Checkpoint, checkpoint: Checkpoint | None) -> None:
    if checkpoint and checkpoint.position > head.position:
        raise _Tampered(
            Broken(f"the chain was cut off: the checkpoint saw position {checkpoint.position}", head.position + 1)
        )


def _check_unsealed() -> None:
    for entry in unsealed().order_by("id").values(*COLUMNS).iterator(CHUNK):
        try:
            genuine = _is_genuine(entry)
        except UnknownAuditKey as unknown:
            raise _Tampered(Broken(str(unknown), entry_id=entry["id"])) from None
        if not genuine:
            raise _Tampered(Broken("the entry was changed, or inserted without the key", entry_id=entry["id"]))


def _check_copies() -> None:
    """A genuine row that stands twice is one act and a forgery. (`uid` is unique, while nobody drops its index.)"""
    twice = AuditEntry.objects.values("mac").annotate(copies=Count("id"), last=Max("id")).filter(copies__gt=1)
    for copy in twice.order_by("last")[:1]:
        raise _Tampered(Broken("the entry is a copy of an earlier one", entry_id=copy["last"]))
