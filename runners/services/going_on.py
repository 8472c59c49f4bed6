"""Resume and fork a session: a launch that is like the session's last one, with something new to say."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import transaction

from runners.backends.base import LaunchRequest
from runners.exceptions import InvalidRequest
from runners.models import Runner, Session
from runners.services.launch import launch_runner
from runners.states import ConversationMode

#: What a launch that goes on has from the session's last runner, unless it says else.
KEPT = (
    "argv", "model", "flags", "environment", "workspace", "isolation", "worktree_end", "runtime", "image", "network",
    "container_user", "labels", "limits", "approvals", "grace_seconds", "priority", "agent_name", "personality_name",
)  # fmt: skip


@transaction.atomic
def resume_session(session_id: UUID, *, actor: str, user: Any = None, **wishes: Any) -> Runner:
    """Launch a runner that goes on with a session, and return it. Raises LaunchRefused.

    `wishes` are fields of LaunchRequest: prompt, at_message, and what is to be other than with its last runner.
    """
    return _launch(session_id, ConversationMode.RESUME, actor=actor, user=user, wishes=wishes)


@transaction.atomic
def fork_session(session_id: UUID, *, actor: str, user: Any = None, **wishes: Any) -> Runner:
    """Launch a runner in a new session that begins as a copy of this one, and return it. Raises LaunchRefused."""
    return _launch(session_id, ConversationMode.FORK, actor=actor, user=user, wishes=wishes)


def _launch(session_id: UUID, mode: ConversationMode, *, actor: str, user: Any, wishes: dict[str, Any]) -> Runner:
    session = Session.objects.select_related("project").filter(pk=session_id).first()
    if session is None:
        raise InvalidRequest(f"There is no session {session_id}.", field="session_id")
    request = replace(request_like_last(session), **wishes, conversation_mode=mode, session_id=str(session.pk))
    return launch_runner(session.project.name, request, actor=actor, user=user)


def request_like_last(session: Session) -> LaunchRequest:
    """Return the launch of the session's last runner, with nothing to say."""
    last = Runner.objects.filter(session=session).order_by("-created_at").first()
    kept = {name: getattr(last, name) for name in KEPT} if last else {}
    return LaunchRequest(backend=session.backend, **kept)


def with_environment_of_last(request: LaunchRequest) -> LaunchRequest:
    """Return a launch that goes on with a session with the variables of its last runner, which no form shows."""
    if not request.session_id or request.environment:
        return request
    last = Runner.objects.filter(session__pk=UUID(request.session_id)).order_by("-created_at").first()
    return replace(request, environment=last.environment) if last else request
