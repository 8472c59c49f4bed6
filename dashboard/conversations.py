"""Which part of a conversation a page shows, and how one gets to the others."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, FloatField, Func, IntegerField, Max, Min, Q, QuerySet, Value
from django.db.models.functions import Cast, Extract
from django.http import QueryDict

from dashboard import figures
from dashboard.talk import Item, items_of, shown_messages
from runners.backends import get_backend
from runners.models import Message, Runner, Session
from runners.states import Role

#: Read at once; a longer conversation is read on by its links.
MESSAGES_SHOWN = 200
#: Bars of the line on which one finds a time.
BARS = 60
ERRORS_LISTED = 12


@dataclass(frozen=True)
class Wanted:
    """What the address asks for."""

    around: int = 0
    before: int = 0
    after: int = 0
    at: datetime | None = None
    role: str = ""
    tool: str = ""
    errors: bool = False

    @classmethod
    def from_query(cls, query: QueryDict) -> "Wanted":
        """Read an address; what makes no sense counts as not asked for."""
        role = query.get("role", "")
        return cls(
            around=number(query.get("around")),
            before=number(query.get("before")),
            after=number(query.get("after")),
            at=_time(query.get("at", "")),
            role=role if role in Role.values else "",
            tool=query.get("tool", "").replace("\x00", "")[:100],
            errors=query.get("errors") == "1",
        )

    @property
    def filters(self) -> bool:
        return bool(self.role or self.tool or self.errors)

    def condition(self) -> Q:
        found = Q(is_error=True) if self.errors else Q()
        if self.role:
            found &= Q(role=self.role)
        return found & Q(tool_name=self.tool) if self.tool else found


@dataclass
class Window:
    """The part of a conversation that a page shows."""

    items: list[Item]
    #: The newest message that it shows; what comes later is asked for after it.
    last_id: int = 0
    first_id: int = 0
    earlier: bool = False
    later: bool = False
    around: int = 0


@dataclass(frozen=True)
class Bar:
    """A stretch of time: how much was said in it, and where it begins."""

    first_id: int
    percent: int
    label: str
    errors: int = 0
    here: bool = False


def read_window(session: Session, wanted: Wanted = Wanted()) -> Window:
    """Return what the address asks for, or the end of the conversation."""
    messages = Message.objects.filter(wanted.condition(), session=session)
    around = wanted.around or _first_since(messages, wanted.at)
    before = _end_around(messages, around) if around else wanted.before
    if wanted.after:
        found = list(shown_messages(messages.filter(pk__gt=wanted.after)).order_by("pk")[:MESSAGES_SHOWN])
    else:
        earlier = shown_messages(messages.filter(pk__lt=before) if before else messages)
        found = list(earlier.order_by("-pk")[:MESSAGES_SHOWN])[::-1]
    if not found:
        return Window([], last_id=wanted.after, around=around)
    first, last = found[0].pk, found[-1].pk
    return Window(
        items_of(found),
        last_id=last,
        first_id=first,
        earlier=messages.filter(pk__lt=first).exists(),
        later=messages.filter(pk__gt=last).exists(),
        around=around,
    )


def read_news(session: Session, after: int) -> list[Item]:
    """Return what was said after a message: a piece for a page that shows what came before."""
    messages = shown_messages(Message.objects.filter(session=session, pk__gt=after))
    return items_of(messages.order_by("pk")[:MESSAGES_SHOWN])


def time_line(session: Session, window: Window) -> list[Bar]:
    """Return the conversation's time in stretches of the same length; none for one that fits on a page."""
    if session.message_count <= MESSAGES_SHOWN and not (window.earlier or window.later):
        return []
    messages = Message.objects.filter(session=session)
    ends = messages.aggregate(first=Min("at"), last=Max("at"))
    if ends["first"] is None or ends["first"] == ends["last"]:
        return []
    found = list(_stretches(messages, ends["first"].timestamp(), ends["last"].timestamp()))
    most = max(each["said"] for each in found)
    return [_bar(each, most, window) for each in found]


def _stretches(messages: QuerySet[Message], first: float, last: float) -> Any:
    moment = Cast(Extract("at", "epoch"), FloatField())
    # The last message stands on the end of the last stretch, which width_bucket leaves out.
    stretch = Func(
        moment, Value(first), Value(last + 0.001), Value(BARS), function="width_bucket", output_field=IntegerField()
    )
    return (
        messages.order_by()
        .annotate(stretch=stretch)
        .values("stretch")
        .annotate(
            said=Count("pk"),
            errors=Count("pk", filter=Q(is_error=True)),
            first_id=Min("pk"),
            last_id=Max("pk"),
            since=Min("at"),
        )
        .order_by("stretch")
    )


def _bar(stretch: Any, most: int, window: Window) -> Bar:
    said, errors = stretch["said"], stretch["errors"]
    trouble = f", {errors} error{'s' * (errors != 1)}" if errors else ""
    return Bar(
        first_id=stretch["first_id"],
        percent=max(8, round(100 * said / most)),
        label=f"{stretch['since']:%-d %b %H:%M:%S}: {said} message{'s' * (said != 1)}{trouble}",
        errors=errors,
        here=stretch["first_id"] <= window.last_id and stretch["last_id"] >= window.first_id,
    )


@dataclass
class Contents:
    """What there is in a conversation to look for."""

    tools: list[tuple[str, int]] = field(default_factory=list)
    errors: list[Any] = field(default_factory=list)
    error_count: int = 0


def contents_of(session: Session) -> Contents:
    """Return which tools were used how often, and the first of its errors."""
    messages = Message.objects.filter(session=session)
    used = messages.exclude(tool_name="").exclude(role=Role.TOOL).order_by()
    errors = messages.filter(is_error=True)
    return Contents(
        tools=list(used.values_list("tool_name").annotate(n=Count("pk")).order_by("-n", "tool_name")[:50]),
        errors=list(shown_messages(errors).order_by("pk")[:ERRORS_LISTED]),
        error_count=errors.count(),
    )


def conversation_verbs(session: Session | None) -> dict[str, Any]:
    """Return whether a session can be gone on with, and why not now; one of a backend that is gone never can."""
    if session is None or session.backend not in settings.RUNNER_BACKENDS:
        return {"goes_on": False}
    backend = get_backend(session.backend)
    busy = Runner.objects.filter(session=session).open().first() if backend.goes_on else None
    return {"goes_on": backend.goes_on and session.message_count > 0, "busy": busy, "backend_label": backend.label}


def lineage(session: Session) -> dict[str, Any]:
    """Return of which session this one is a fork or was rebuilt, and those that came of it."""
    came_of_it = session.resumed_by.select_related("forked_at").order_by("-started_at")
    return {"offspring": list(came_of_it[:20]), "offspring_count": session.resumed_by.count()}


def number(text: str | None) -> int:
    """Return the id of a message in an address, or 0."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else 0


def shown_time(moment: datetime | None) -> str:
    """Return a moment as a field for date and time takes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}" if moment else figures.NONE


def _time(text: str) -> datetime | None:
    """Return the moment that a field for date and time holds; such a field knows no zone, and means UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _first_since(messages: QuerySet[Message], at: datetime | None) -> int:
    """Return the first message from a moment on, or else the last one there is."""
    if at is None:
        return 0
    ids = messages.filter(at__gte=at).order_by("pk").values_list("pk", flat=True)
    return next(iter(ids[:1]), 0) or next(iter(messages.order_by("-pk").values_list("pk", flat=True)[:1]), 0)


def _end_around(messages: QuerySet[Message], message_id: int) -> int:
    """Return before which message to read, so that this one stands in the middle; 0: the end is near."""
    following = messages.filter(pk__gt=message_id).order_by("pk").values_list("pk", flat=True)
    return next(iter(following[MESSAGES_SHOWN // 2 : MESSAGES_SHOWN // 2 + 1]), 0)
