"""Enter messages into sessions, each once, their totals in the same transaction. Usage: ledger.py."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from runners.backends.base import MessageFact, UsageFact
from runners.models import Message, Runner, Session
from runners.services.search_index import Said, index
from runners.sql import Talk, add_talk
from runners.sql_rows import insert_unseen

KeyedFact = TypeVar("KeyedFact", MessageFact, UsageFact)


@dataclass(frozen=True)
class Told(Generic[KeyedFact]):
    """What a runner tells of its session."""

    session: Session
    runner: Runner
    facts: Sequence[KeyedFact]


def add_messages(session: Session, runner: Runner, facts: Sequence[MessageFact]) -> int:
    """Add the messages whose key is new to the session; return how many."""
    return add_all_messages([Told(session, runner, facts)])


def add_all_messages(told: Iterable[Told[MessageFact]]) -> int:
    """Add the messages whose key is new to their session, in few statements for all; return how many."""
    added = insert_unseen([_message(each, fact) for each in told for fact in each.facts], ("session", "key"))
    index(Said(message.pk, message.text, message.tool_name, message.tool_input) for message in added)
    counts: dict[UUID, int] = {}
    latest: dict[UUID, datetime] = {}
    for message in added:
        session_id = message.session_id
        counts[session_id] = counts.get(session_id, 0) + 1
        latest[session_id] = max(message.at, latest.get(session_id, message.at))
    add_talk([Talk(session_id, counts[session_id], latest[session_id]) for session_id in sorted(counts)])
    return len(added)


def _message(told: Told[MessageFact], fact: MessageFact) -> Message:
    return Message(
        session_id=told.session.pk,
        runner_id=told.runner.pk,
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
