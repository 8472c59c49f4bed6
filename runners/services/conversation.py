"""Enter messages into a session, each once, its totals in the same transaction. Usage: ledger.py."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db.models import F

from runners.backends.base import MessageFact, UsageFact
from runners.models import Message, Runner, Session
from runners.services.search_index import Said, index

KeyedFact = TypeVar("KeyedFact", MessageFact, UsageFact)


def add_messages(session: Session, runner: Runner, facts: Sequence[MessageFact]) -> int:
    """Add the messages whose key is new to the session; return how many. A session has one writing runner at a time."""
    known = Message.objects.filter(session=session)
    fresh = unseen(facts, lambda keys: set(known.filter(key__in=keys).values_list("key", flat=True)))
    if not fresh:
        return 0
    added = Message.objects.bulk_create(
        Message(
            session=session,
            runner=runner,
            key=fact.key,
            role=fact.role,
            text=fact.text.replace("\x00", "\N{REPLACEMENT CHARACTER}"),  # PostgreSQL's text cannot hold NUL
            tool_name=fact.tool_name[:100],
            tool_input=fact.tool_input,
            is_error=fact.is_error,
            call_id=fact.call_id,
            anchor=fact.anchor,
            more_characters=fact.more_characters,
            record_attempt=fact.place.generation if fact.place else None,
            record_offset=fact.place.offset if fact.place else None,
            record_bytes=fact.place.size_bytes if fact.place else None,
            at=fact.at,
        )
        for fact in fresh
    )
    index(Said(message.pk, message.text, message.tool_name, message.tool_input) for message in added)
    Session.objects.filter(pk=session.pk).update(
        message_count=F("message_count") + len(fresh), last_message_at=max(fact.at for fact in fresh)
    )
    return len(fresh)


def unseen(facts: Sequence[KeyedFact], known_among: Callable[[list[str]], set[str]]) -> list[KeyedFact]:
    """Return the facts whose key is not known yet, each key once, in order."""
    if not facts:
        return []
    known = known_among([fact.key for fact in facts])
    first: dict[str, KeyedFact] = {}
    for fact in facts:
        if fact.key not in known:
            first.setdefault(fact.key, fact)
    return list(first.values())
