"""What the page of a session needs to replay one of its attempts: which there are, and where in it each message is."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.http import QueryDict

from dashboard.conversations import number
from dashboard.talk import Item, items_of, shown_messages
from dashboard.templatetags.talk import first_line, glance
from runners.backends import all_backends
from runners.models import Attempt, Message, Session
from runners.states import TERMINAL

#: Programs that print lines for programs: their replay is drawn from what they said.
HEADLESS = frozenset(backend.name for backend in all_backends() if backend.headless)
#: Marks on the line of a replay; of more messages the prompts, errors and first uses of tools.
MOST_MARKS = 500


@dataclass
class Replay:
    """One attempt to be replayed, and its companions."""

    attempt: Attempt
    attempts: list[Attempt]
    #: [seconds, label, message] of what it is marked with.
    marks: list[tuple[float, str, int]] = field(default_factory=list)
    #: The message at which to begin; 0: at the start.
    seek: int = 0

    @property
    def is_drawn(self) -> bool:
        return self.attempt.runner.backend in HEADLESS

    @property
    def is_running(self) -> bool:
        return self.attempt.status not in TERMINAL

    @property
    def goes_live(self) -> bool:
        """Its terminal can be watched from the recording's end on."""
        return self.is_running and not self.is_drawn


def attempts_of(session: Session) -> list[Attempt]:
    """Return the attempts that worked in the session, in their order."""
    found = Attempt.objects.filter(session=session, node__isnull=False, started_at__isnull=False)
    return list(found.select_related("runner", "node").order_by("placed_at", "pk")[:200])


def replay_of(session: Session, query: QueryDict, attempts: list[Attempt]) -> Replay | None:
    """Return the replay that the address asks for: by attempt, by a message, or none."""
    seek = number(query.get("seek"))
    asked = query.get("replay", "")
    if not attempts or not (asked or seek):
        return None
    chosen = next((each for each in attempts if name_of(each) == asked), None)
    if chosen is None and seek:
        message = Message.objects.filter(session=session, pk=seek).first()
        chosen = attempt_at(attempts, message) if message else None
    replay = Replay(chosen or attempts[-1], attempts, seek=seek)
    replay.marks = list(_marks(replay.attempt, attempts))
    return replay


def name_of(attempt: Attempt) -> str:
    """Return the attempt's name in an address."""
    return f"{attempt.runner_id}.{attempt.generation}"


def attempt_at(attempts: list[Attempt], message: Message) -> Attempt | None:
    """Return the attempt in which a message was said."""
    own = [each for each in attempts if each.runner_id == message.runner_id]
    begun = [each for each in own if each.placed_at <= message.at]
    fitting = begun or own
    return fitting[-1] if fitting else None


def messages_of(attempt: Attempt) -> QuerySet[Any]:
    """Return what was said and done in an attempt."""
    later = Attempt.objects.filter(runner_id=attempt.runner_id, generation=attempt.generation + 1).first()
    said = Q(runner_id=attempt.runner_id, session=attempt.session_id)
    if attempt.generation > 1:
        said &= Q(at__gte=attempt.placed_at)
    if later is not None:
        said &= Q(at__lt=later.placed_at)
    return shown_messages(Message.objects.filter(said)).order_by("pk")


def zero_of(attempt: Attempt) -> datetime:
    """Return the moment with which the attempt's recording begins."""
    return attempt.started_at or attempt.placed_at


def _marks(attempt: Attempt, attempts: list[Attempt]) -> list[tuple[float, str, int]]:
    items = items_of(messages_of(attempt)[: MOST_MARKS * 4])
    if len(items) > MOST_MARKS:
        items = [item for item in items if item.message.role == "user" or item.is_error or item.is_tool][:MOST_MARKS]
    zero = zero_of(attempt)
    return [(max((item.message.at - zero).total_seconds(), 0.0), _label(item), item.message.pk) for item in items]


def _label(item: Item) -> str:
    message = item.message
    if item.is_tool:
        return first_line(f"{message.tool_name} {glance(message.tool_input)}")
    return f"{message.get_role_display()}: {first_line(message.head)}"
