"""How to go on with an earlier session: by the program itself, or from our transcript in a session that says so.

A program keeps its conversations on its own disk. So a resume or fork goes to the node where the session's last runner
was; if the program cannot do it there (any more), a new session begins, and its first prompt quotes the earlier one.
"""

from dataclasses import dataclass, replace
from uuid import UUID

from django.db.models import QuerySet

from runners.backends import get_backend
from runners.backends.base import Backend, LaunchRequest
from runners.exceptions import InvalidRequest, SessionBusy
from runners.models import Message, Node, Project, Runner, Session
from runners.services.containers import CONTAINER
from runners.services.context import CONTEXT_KEY
from runners.services.places import PROJECT_LOCK
from runners.sql import lock_for_transaction
from runners.states import TERMINAL, ConversationMode, NodeStatus, Role

#: An answer of a model calls so many tools at most, as far as we look for their results.
MOST_CALLS = 200


@dataclass(frozen=True)
class Way:
    """How a launch goes on with an earlier session."""

    origin: Session
    #: resume: the same session goes on; fork: a new one begins as a copy.
    mode: ConversationMode
    #: The last message of the origin that it knows; None: there is none yet.
    until: Message | None = None
    #: That is not the end of it; and the program's own id of that place, if it told one.
    within: bool = False
    anchor: str = ""
    #: Why the program cannot: a session is rebuilt. Empty: it can.
    because: str = ""
    #: Where the program has the conversation.
    home: Node | None = None


def way_on(project: Project, request: LaunchRequest) -> Way | None:
    """Return how the request goes on with an earlier session; None: it begins a new one.

    Raises InvalidRequest where there is nothing to go on with, and SessionBusy.
    """
    if request.conversation_mode == ConversationMode.NEW:
        return None
    session = Session.objects.filter(pk=request.session_id, project=project, backend=request.backend).first()
    if session is None:
        raise InvalidRequest(
            f"There is no {request.backend} session {request.session_id!r} in {project.name} to go on with.",
            field="session_id",
        )
    way = _wanted(session, request)
    if way.mode == ConversationMode.RESUME:
        # Of two that resume it at the same time, one is to see the other.
        lock_for_transaction(PROJECT_LOCK, project.pk)
        _check_free(session)
    last = last_runner(session)
    backend = get_backend(request.backend)
    because = _why_not(backend, way, last, request)
    if because and not has_said(session, way.until):
        raise InvalidRequest(f"Nothing was said in {session} yet: {because}.", field="session_id")
    return replace(way, because=because[:200], home=None if because or last is None else last.node)


def _wanted(session: Session, request: LaunchRequest) -> Way:
    """Return which part of the session is meant. A resume from within it is a fork: what follows stays as it is."""
    fork = request.conversation_mode == ConversationMode.FORK
    mode = ConversationMode.FORK if fork else ConversationMode.RESUME
    messages = Message.objects.filter(session=session)
    end = messages.order_by("pk").last()
    if request.at_message is None:
        return Way(session, mode, until=end)
    at = messages.filter(pk=request.at_message).first()
    if at is None:
        raise InvalidRequest(f"There is no message {request.at_message} in {session}.", field="at_message")
    until = _kept(messages, at)
    if end is not None and until.pk == end.pk:
        return Way(session, mode, until=until)
    return Way(session, ConversationMode.FORK, until=until, within=True, anchor=_anchor(messages, until))


def _kept(messages: QuerySet[Message], at: Message) -> Message:
    """Return the last message to keep.

    Of a prompt the one before: the new one takes its place. Of a call its result, and those of all called with it.
    """
    if at.role == Role.USER:
        before = messages.filter(pk__lt=at.pk).order_by("pk").last()
        if before is None:
            raise InvalidRequest("Nothing was said before this prompt: launch a new session.", field="at_message")
        return before
    waiting = _open_calls(messages, at)
    last = at
    for message in messages.filter(pk__gt=at.pk).order_by("pk")[:MOST_CALLS] if waiting else ():
        if message.role == Role.TOOL:
            waiting.discard(message.call_id)
        elif message.call_id:
            waiting.add(message.call_id)
        last = message
        if not waiting:
            return last
    return at if waiting else last


def _open_calls(messages: QuerySet[Message], at: Message) -> set[str]:
    """Return the calls up to `at` whose results come later."""
    near = list(messages.filter(pk__lte=at.pk).order_by("-pk").values_list("role", "call_id")[:MOST_CALLS])
    answered = {call for role, call in near if role == Role.TOOL}
    return {call for role, call in near if call and role != Role.TOOL and call not in answered}


def _anchor(messages: QuerySet[Message], until: Message) -> str:
    anchored = messages.filter(pk__lte=until.pk).exclude(anchor="").order_by("pk").last()
    return anchored.anchor if anchored else ""


def last_runner(session: Session, *, but: UUID | None = None) -> Runner | None:
    """Return the runner that was last at work in a session."""
    runners = Runner.objects.filter(session=session, node__isnull=False)
    if but is not None:
        runners = runners.exclude(pk=but)
    return runners.select_related("node").order_by("-created_at").first()


def _check_free(session: Session) -> None:
    """Raise SessionBusy while a runner works in the session: two would mix what they say."""
    busy = Runner.objects.filter(session=session).exclude(status__in=TERMINAL).first()
    if busy is not None:
        raise SessionBusy(
            f"{busy.name} is {busy.status} in this session: wait for its end, or fork the session.",
            field="session_id",
            runner_id=str(busy.pk),
        )


def _why_not(backend: Backend, way: Way, last: Runner | None, request: LaunchRequest) -> str:
    """Return why the program cannot go on in its own conversation; empty: as far as we know it can."""
    fork = way.mode == ConversationMode.FORK
    if fork and not backend.forks:
        return f"{backend.label} cannot fork a conversation"
    if not backend.resumes:
        return f"{backend.label} cannot go on with a conversation"
    if way.within and not backend.forks_within:
        return f"{backend.label} cannot fork a conversation before its end"
    if way.within and not way.anchor:
        return f"{backend.label} has told no id of that place"
    if not way.origin.external_id:
        return f"{backend.label} has not told its own id of the conversation"
    if last is None or last.node is None:
        return ""  # nobody knows where it was: the program will say
    if last.runtime == CONTAINER or request.runtime == CONTAINER:
        return "a container takes its conversations along when it goes"
    if backend.knows_no_more(last.reason):
        return f"{backend.label} does not know the conversation any more"
    return why_not_at(last.node, request.labels, request.backend)


def why_not_at(home: Node, labels: list[str], backend: str) -> str:
    """Return why the node that has the conversation cannot go on with it, however long one waits for a slot."""
    if home.status != NodeStatus.ONLINE:
        return f"{home.name}, which has the conversation, is {home.status}"
    missing = [label for label in labels if label not in home.labels]
    if missing:
        return f"{home.name}, which has the conversation, has not the label {missing[0]}"
    if get_backend(backend).program and backend not in home.programs:
        return f"{home.name}, which has the conversation, has {get_backend(backend).label} no more"
    return ""


def has_said(session: Session, until: Message | None) -> bool:
    """Say whether there is anything to quote."""
    return until is not None and (
        session.resumed_from_id is not None
        or Message.objects.filter(session=session, pk__lte=until.pk).exclude(key=CONTEXT_KEY).exists()
    )
