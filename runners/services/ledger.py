"""Enter usage into the ledger, each once, with the session's totals in the same transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from runners.backends.base import UsageFact
from runners.models import Runner, Session, UsageEntry
from runners.models.usage import TOKEN_COLUMNS
from runners.services.conversation import Told
from runners.services.pricing import PriceBook
from runners.sql import Used, add_used, hold_reckoning, known_usage
from runners.sql_rows import insert_unseen
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
    """Enter the usage of one runner: see enter_all_usage()."""
    return enter_all_usage([Told(session, runner, facts)])


def enter_all_usage(told: Sequence[Told[UsageFact]]) -> list[Charge]:
    """Enter the usage whose key is new to its session into the ledger and the sessions' totals; return what that adds.

    What comes without a cost is priced by the price table. A program may tell the cost of such usage later, as a total:
    that entry is then entered by the difference, and settles the earlier ones. The sessions' rows are locked.
    """
    told = [each for each in told if each.facts]
    if not told:
        return []
    hold_reckoning()
    # Entries of one session are priced anew and settled under its lock, so neither misses what the other did.
    ids = sorted({each.session.pk for each in told})
    list(Session.objects.select_for_update().only("pk").filter(pk__in=ids).order_by("pk"))
    fresh = _unseen(told)
    if not fresh:
        return []
    prices = PriceBook.read() if any(fact.cost_usd is None for _, fact in fresh) else PriceBook([])
    made = [(_entry(each.session, each.runner, fact, prices), fact) for each, fact in fresh]
    by_session: dict[UUID, list[tuple[UsageEntry, UsageFact]]] = {}
    for entry, fact in made:
        by_session.setdefault(entry.session_id, []).append((entry, fact))
    settled = [pair for session_id, several in by_session.items() for pair in _settle(session_id, several)]
    entries = [entry for entry, _ in made]
    insert_unseen(entries, ("session", "key"))
    for entry, covered in settled:
        UsageEntry.objects.filter(pk__in=[each.pk for each in covered]).update(settled_by=entry)
    charges = [charge_of(entry) for entry in entries]
    add_to_sessions(entries)
    # A settled entry was charged as unknown when it was entered: before, or just now.
    return charges + [_no_longer_unknown(each) for _, covered in settled for each in covered if each.cost_usd is None]


def _unseen(told: Iterable[Told[UsageFact]]) -> list[tuple[Told[UsageFact], UsageFact]]:
    """Return the facts whose key is not known to their session, each key once, in order."""
    first: dict[tuple[UUID, str], tuple[Told[UsageFact], UsageFact]] = {}
    for each in told:
        for fact in each.facts:
            first.setdefault((each.session.pk, fact.key), (each, fact))
    known = known_usage(list(first))
    return [told_fact for key, told_fact in first.items() if key not in known]


def charge_of(entry: UsageEntry) -> Charge:
    """Return what a new entry adds."""
    return Charge(
        runner_id=entry.runner_id,
        at=entry.at,
        tokens=entry.total_tokens,
        usd=entry.cost_usd or Decimal(0),
        unknown_tokens=entry.total_tokens if entry.cost_usd is None else 0,
    )


def add_to_sessions(entries: Iterable[UsageEntry], *, tokens: bool = True) -> None:
    """Add entries to their sessions' totals (their cost alone, if their tokens were added before)."""
    by_session: dict[UUID, list[UsageEntry]] = {}
    for entry in entries:
        by_session.setdefault(entry.session_id, []).append(entry)
    add_used([_sum(session_id, by_session[session_id], tokens=tokens) for session_id in sorted(by_session)])


def _sum(session_id: UUID, entries: Sequence[UsageEntry], *, tokens: bool) -> Used:
    counts = {column: sum(getattr(entry, column) for entry in entries) if tokens else 0 for column in TOKEN_COLUMNS}
    costs = [entry.cost_usd for entry in entries if entry.cost_usd is not None]
    return Used(session_id, **counts, cost_usd=sum(costs, Decimal(0)) if costs else None)


def _entry(session: Session, runner: Runner, fact: UsageFact, prices: PriceBook) -> UsageEntry:
    entry = UsageEntry(
        session_id=session.pk,
        runner_id=runner.pk,
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
    session_id: UUID, made: Sequence[tuple[UsageEntry, UsageFact]]
) -> list[tuple[UsageEntry, list[UsageEntry]]]:
    """Let each reported cost settle the entries it covers: it keeps only what their prices had not said already.

    Returns each settling entry with those it settles.
    """
    if not any(fact.settles or fact.covers for _, fact in made):
        return []
    opened = list(
        UsageEntry.objects.filter(session=session_id, settled_by=None)
        .exclude(source=CostSource.REPORTED)
        .order_by("pk")
    )
    settled = []
    for entry, fact in made:
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
