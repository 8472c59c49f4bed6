"""Enter usage into the ledger, each once, with the session's totals in the same transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Case, Exists, F, Value, When
from django.db.models.functions import Coalesce

from runners.backends.base import UsageFact
from runners.models import Runner, Session, UsageEntry
from runners.models.usage import TOKEN_COLUMNS, UNPRICED
from runners.services.conversation import unseen
from runners.services.pricing import PriceBook
from runners.sql import hold_reckoning
from runners.states import CostSource


@dataclass(frozen=True)
class Charge:
    """What one change of the ledger adds to the totals of the time `at`. Differences: any of them may be negative."""

    runner_id: UUID
    at: datetime
    tokens: int = 0
    usd: Decimal = Decimal(0)
    #: Tokens of which nobody knows the cost.
    unknown_tokens: int = 0


def enter_usage(session: Session, runner: Runner, facts: Sequence[UsageFact]) -> list[Charge]:
    """Enter the usage whose key is new into the ledger and the session's totals; return what that adds.

    What comes without a cost is priced by the price table. A program may tell the cost of such usage later, as a total:
    that entry is then entered by the difference, and settles the earlier ones. The session's row is locked.
    """
    if not facts:
        return []
    hold_reckoning()
    # Entries of one session are priced anew and settled under its lock, so neither misses what the other did.
    Session.objects.select_for_update().only("pk").get(pk=session.pk)
    known = UsageEntry.objects.filter(session=session)
    fresh = unseen(facts, lambda keys: set(known.filter(key__in=keys).values_list("key", flat=True)))
    if not fresh:
        return []
    prices = PriceBook.read() if any(fact.cost_usd is None for fact in fresh) else PriceBook([])
    entries = [_entry(session, runner, fact, prices) for fact in fresh]
    settled = _settle(session, entries, fresh)
    UsageEntry.objects.bulk_create(entries)
    for entry, covered in settled:
        UsageEntry.objects.filter(pk__in=[each.pk for each in covered]).update(settled_by=entry)
    charges = [charge_of(entry) for entry in entries]
    add_to_session(session.pk, entries)
    # A settled entry was charged as unknown when it was entered: before, or just now.
    return charges + [_no_longer_unknown(each) for _, covered in settled for each in covered if each.cost_usd is None]


def charge_of(entry: UsageEntry) -> Charge:
    """Return what a new entry adds."""
    return Charge(
        runner_id=entry.runner_id,
        at=entry.at,
        tokens=entry.total_tokens,
        usd=entry.cost_usd or Decimal(0),
        unknown_tokens=entry.total_tokens if entry.cost_usd is None else 0,
    )


def add_to_session(session_id: UUID, entries: Iterable[UsageEntry], *, tokens: bool = True) -> None:
    """Add entries to their session's totals (their cost alone, if their tokens were added before)."""
    entries = list(entries)
    changes: dict[str, object] = {}
    if tokens:
        changes = {column: F(column) + sum(getattr(entry, column) for entry in entries) for column in TOKEN_COLUMNS}
    costs = [entry.cost_usd for entry in entries if entry.cost_usd is not None]
    if costs:
        changes["cost_usd"] = Coalesce(F("cost_usd"), Decimal(0)) + sum(costs)
    Session.objects.filter(pk=session_id).update(**changes, cost_source=_cost_source(session_id))


def _entry(session: Session, runner: Runner, fact: UsageFact, prices: PriceBook) -> UsageEntry:
    entry = UsageEntry(
        session=session,
        runner=runner,
        key=fact.key,
        model=fact.model[:100],
        cost_usd=fact.cost_usd,
        source=CostSource.UNKNOWN if fact.cost_usd is None else CostSource.REPORTED,
        stretch=fact.stretch,
        at=fact.at,
        **{column: getattr(fact, column) for column in TOKEN_COLUMNS},
    )
    set_price(entry, prices)
    return entry


def set_price(entry: UsageEntry, prices: PriceBook) -> bool:
    """Price an entry of which the cost is not known; return whether there was a price. Writes nothing."""
    priced = prices.cost_of(entry.model, entry.tokens, entry.at) if entry.source == CostSource.UNKNOWN else None
    if priced is None:
        return False
    entry.cost_usd, entry.price, entry.source = priced.cost_usd, priced.price, CostSource.PRICED
    return True


def _settle(
    session: Session, entries: Sequence[UsageEntry], facts: Sequence[UsageFact]
) -> list[tuple[UsageEntry, list[UsageEntry]]]:
    """Let each reported cost settle the entries it covers: it keeps only what their prices had not said already.

    Returns each settling entry with those it settles.
    """
    if not any(fact.settles or fact.covers for fact in facts):
        return []
    opened = list(
        UsageEntry.objects.filter(session=session, settled_by=None).exclude(source=CostSource.REPORTED).order_by("pk")
    )
    settled = []
    for entry, fact in zip(entries, facts, strict=True):
        covered = [each for each in opened if _covers(fact, each)]
        if covered and entry.cost_usd is not None:
            entry.cost_usd -= sum((each.cost_usd or Decimal(0) for each in covered), Decimal(0))
            settled.append((entry, covered))
            opened = [each for each in opened if not _covers(fact, each)]
        if entry.source != CostSource.REPORTED:
            opened.append(entry)
    return settled


def _covers(fact: UsageFact, entry: UsageEntry) -> bool:
    if fact.cost_usd is None:
        return False
    if fact.settles:
        return True
    return entry.stretch in fact.covers and (fact.covers_all_models or entry.model == fact.model)


def _no_longer_unknown(entry: UsageEntry) -> Charge:
    return Charge(runner_id=entry.runner_id, at=entry.at, unknown_tokens=-entry.total_tokens)


def _cost_source(session_id: UUID) -> Case:
    """Return, for an UPDATE, what the session's sum is: all reported, partly priced by us, or partly unknown."""
    entries = UsageEntry.objects.filter(session=session_id)
    return Case(
        When(Exists(entries.filter(UNPRICED)), then=Value(CostSource.UNKNOWN)),
        When(Exists(entries.filter(source=CostSource.PRICED, settled_by=None)), then=Value(CostSource.PRICED)),
        default=Value(CostSource.REPORTED),
    )
