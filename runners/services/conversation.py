"""Enter messages and usage into a session, each once, its totals in the same transaction."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

from django.db.models import F

from runners.backends.base import MessageFact, UsageFact
from runners.models import Message, Runner, Session, UsageEntry
from runners.states import CostSource

KeyedFact = TypeVar("KeyedFact", MessageFact, UsageFact)

TOKEN_COLUMNS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def add_messages(session: Session, runner: Runner, facts: Sequence[MessageFact]) -> int:
    """Add the messages whose key is new to the session; return how many. A session has one writing runner at a time."""
    known = Message.objects.filter(session=session)
    fresh = _unseen(facts, lambda keys: set(known.filter(key__in=keys).values_list("key", flat=True)))
    if not fresh:
        return 0
    Message.objects.bulk_create(
        Message(
            session=session,
            runner=runner,
            key=fact.key,
            role=fact.role,
            text=fact.text.replace("\x00", "\N{REPLACEMENT CHARACTER}"),  # PostgreSQL's text cannot hold NUL
            tool_name=fact.tool_name[:100],
            tool_input=fact.tool_input,
            is_error=fact.is_error,
            at=fact.at,
        )
        for fact in fresh
    )
    Session.objects.filter(pk=session.pk).update(
        message_count=F("message_count") + len(fresh), last_message_at=max(fact.at for fact in fresh)
    )
    return len(fresh)


def enter_usage(session: Session, runner: Runner, facts: Sequence[UsageFact]) -> int:
    """Enter the usage whose key is new into the ledger and the session's totals; return how many entries."""
    known = UsageEntry.objects.filter(session=session)
    fresh = _unseen(facts, lambda keys: set(known.filter(key__in=keys).values_list("key", flat=True)))
    if not fresh:
        return 0
    UsageEntry.objects.bulk_create(_entry(session, runner, fact) for fact in fresh)
    changes: dict[str, object] = {
        column: F(column) + sum(getattr(fact, column) for fact in fresh) for column in TOKEN_COLUMNS
    }
    costs = [fact.cost_usd for fact in fresh if fact.cost_usd is not None]
    if costs:
        before = Session.objects.values_list("cost_usd", flat=True).get(pk=session.pk) or Decimal(0)
        changes["cost_usd"] = before + sum(costs)
    changes["cost_source"] = _cost_source(session, fresh)
    Session.objects.filter(pk=session.pk).update(**changes)
    return len(fresh)


def _unseen(facts: Sequence[KeyedFact], known_among: Callable[[list[str]], set[str]]) -> list[KeyedFact]:
    """Return the facts whose key is not known yet, each key once, in order."""
    if not facts:
        return []
    known = known_among([fact.key for fact in facts])
    first: dict[str, KeyedFact] = {}
    for fact in facts:
        if fact.key not in known:
            first.setdefault(fact.key, fact)
    return list(first.values())


def _entry(session: Session, runner: Runner, fact: UsageFact) -> UsageEntry:
    return UsageEntry(
        session=session,
        runner=runner,
        key=fact.key,
        model=fact.model[:100],
        cost_usd=fact.cost_usd,
        source=CostSource.UNKNOWN if fact.cost_usd is None else CostSource.REPORTED,
        at=fact.at,
        **{column: getattr(fact, column) for column in TOKEN_COLUMNS},
    )


def _cost_source(session: Session, fresh: Sequence[UsageFact]) -> CostSource:
    """Return whether the session's sum is the whole cost (reported) or some of it is not known.

    An entry without a cost leaves the sum unknown until one comes that settles all before it.
    """
    entries = UsageEntry.objects.filter(session=session)
    whole = (
        Session.objects.filter(pk=session.pk, cost_source=CostSource.REPORTED).exists()
        or not entries.exclude(key__in=[fact.key for fact in fresh]).exists()
    )
    for fact in fresh:
        whole = fact.cost_usd is not None and (whole or fact.settles)
    return CostSource.REPORTED if whole else CostSource.UNKNOWN
