"""Begin a session that is told an earlier one: where the program cannot go on in its own conversation (any more)."""

from typing import Any

from django.db.models import F
from django.utils import timezone

from runners.backends import get_backend
from runners.models import Message, Node, Runner, Session
from runners.services.containers import CONTAINER
from runners.services.context import CONTEXT_CHARACTERS, CONTEXT_KEY, quotation
from runners.services.resume import has_answered
from runners.services.way_on import has_said, last_runner, why_not_at
from runners.states import Beginning, ConversationMode, NodeStatus, Role

#: What a program has to hold beside quotation and prompt; and a character may take four bytes.
SPARE_BYTES = 200
BYTES_PER_CHARACTER = 4


def begin_rebuilt(
    origin: Session, until: Message | None, *, because: str, title: str = "", prompt: str = ""
) -> Session:
    """Return a new session whose first prompt quotes `origin` up to `until`; the page and the API say why."""
    session = Session(project_id=origin.project_id, backend=origin.backend, title=title)
    return _tell(session, origin, until, because=because, prompt=prompt)


def _tell(session: Session, origin: Session, until: Message | None, *, because: str, prompt: str) -> Session:
    characters = _room(get_backend(origin.backend).longest_prompt_bytes, prompt)
    # Nothing that was said can hold the id of a session that did not exist.
    text = quotation(origin, until, mark=session.pk.hex[-12:], characters=characters)
    session.began, session.resumed_from, session.forked_at = Beginning.REBUILT, origin, until
    session.rebuilt_because, session.external_id = because[:200], ""
    told = ["began", "resumed_from", "forked_at", "rebuilt_because", "external_id"]
    session.save(update_fields=None if session._state.adding else told)
    Message.objects.create(session=session, key=CONTEXT_KEY, role=Role.SYSTEM, text=text, at=timezone.now())
    Session.objects.filter(pk=session.pk).update(message_count=F("message_count") + 1)
    return session


def _room(longest_bytes: int, prompt: str) -> int:
    if not longest_bytes:
        return CONTEXT_CHARACTERS
    left = (longest_bytes - len(prompt.encode("utf-8", "replace")) - SPARE_BYTES) // BYTES_PER_CHARACTER
    return min(CONTEXT_CHARACTERS, max(left, 0))


def rebuild_interrupted(runner: Runner, *, because: str) -> dict[str, Any]:
    """Return the columns of a runner that starts again where its conversation is not: a new session is told it."""
    assert runner.session is not None  # noqa: S101 - something was said in it
    origin = runner.session
    until = Message.objects.filter(session=origin).order_by("pk").last()
    said = get_backend(runner.backend).resumed_prompt
    session = begin_rebuilt(origin, until, because=because, title=origin.title, prompt=said)
    return {"session": session, "conversation_mode": ConversationMode.NEW, "fork_anchor": ""}


def why_told(runner: Runner, node: Node) -> str:
    """Return why a runner that cannot go on in its conversation on `node` is told it instead.

    Empty: it has said nothing yet, or its program takes no prompt: it begins anew.
    """
    backend = get_backend(runner.backend)
    if not backend.goes_on or runner.session is None or not has_answered(runner, runner.session_id):
        return ""
    if backend.knows_no_more(runner.reason):
        return f"{backend.label} did not know it any more"
    if runner.runtime == CONTAINER:
        return "a container takes its conversations along when it goes"
    if not backend.resumes:
        return f"{backend.label} cannot go on with a conversation"
    if runner.node is not None and runner.node != node:
        return f"{runner.node.name}, which has the conversation, {_is_away(runner.node)}"
    return f"{backend.label} has not told its own id of the conversation"


def _is_away(node: Node) -> str:
    return "has no place" if node.status == NodeStatus.ONLINE else f"is {node.status}"


def can_be_rebuilt(runner: Runner, reason: str) -> bool:
    """Say whether a runner that ended with `reason` was to go on with a conversation that its program did not know."""
    goes_on = runner.conversation_mode != ConversationMode.NEW and runner.session is not None
    return goes_on and get_backend(runner.backend).knows_no_more(reason) and has_said(*_told(runner))


def rebuild(runner: Runner, *, because: str) -> dict[str, Any]:
    """Return the columns of a runner that was to go on with a conversation, and now begins one that is told it.

    A fork's own session is rebuilt in place; of one that was to go on in an earlier session, that stays as it is.
    """
    assert runner.session is not None  # noqa: S101 - it was to go on with one
    origin, until = _told(runner)
    if origin == runner.session:
        session = begin_rebuilt(origin, until, because=because, title=_title(runner), prompt=runner.prompt)
    else:
        session = _tell(runner.session, origin, until, because=because, prompt=runner.prompt)
    return {"session": session, "conversation_mode": ConversationMode.NEW, "fork_anchor": ""}


def _told(runner: Runner) -> tuple[Session, Message | None]:
    """Return the session that the runner was to go on with, and the last message of it that counts."""
    session = runner.session
    assert session is not None  # noqa: S101 - it was to go on with one
    if runner.conversation_mode == ConversationMode.FORK and session.resumed_from is not None:
        return session.resumed_from, session.forked_at
    # Its own prompt, and what the program complained of, are no part of it.
    earlier = Message.objects.filter(session=session).exclude(runner=runner)
    return session, earlier.order_by("pk").last()


def _title(runner: Runner) -> str:
    return runner.prompt.strip().splitlines()[0][:200] if runner.prompt.strip() else ""


def home_of(runner: Runner) -> tuple[Node | None, str]:
    """Return the node where the conversation is with which a queued runner goes on, and why it cannot do so there.

    (None, ""): any node will do.
    """
    if runner.conversation_mode == ConversationMode.NEW or runner.session is None:
        return None, ""
    origin, until = _told(runner)
    last = last_runner(origin, but=runner.pk)
    if last is None or last.node is None:
        return None, ""
    because = why_not_at(last.node, runner.labels, runner.backend)
    return (None, because) if because and has_said(origin, until) else (last.node, "")
