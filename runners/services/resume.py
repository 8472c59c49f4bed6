"""A restart that goes on in the session of the attempt before, where the program can, instead of beginning anew.

Where it cannot, a new session is told what was said (`rebuild.py`), and to go on with it.
"""

from copy import copy
from uuid import UUID

from runners.backends import get_backend
from runners.models import Message, Runner
from runners.services.containers import CONTAINER
from runners.services.context import CONTEXT_KEY
from runners.states import Beginning, ConversationMode, Role


def can_resume(runner: Runner) -> bool:
    """Say whether the next attempt may go on in the session, on the node where this one was.

    Nowhere else: programs keep their conversations on their own disk.
    The program must be able to, have told its own id of the conversation, and have said something in it. One that did
    not know the conversation any more begins anew. A container takes its conversations along when it goes.
    """
    backend = get_backend(runner.backend)
    if not backend.resumes or runner.runtime == CONTAINER or runner.session is None or not runner.session.external_id:
        return False
    if backend.knows_no_more(runner.reason):
        return False
    return has_answered(runner, runner.session_id)


def has_answered(runner: Runner, session_id: UUID | None) -> bool:
    """Say whether an attempt of the runner said anything in a session."""
    return Message.objects.filter(session=session_id, runner=runner, role=Role.ASSISTANT).exists()


def as_attempted(runner: Runner) -> Runner:
    """Return the runner as its present attempt is run, not to be saved: one that goes on has a short prompt."""
    if not runner.resumed:
        return _with_context(runner)
    attempted = copy(runner)
    attempted.conversation_mode = ConversationMode.RESUME
    attempted.prompt = said_prompt(runner)
    return attempted


def said_prompt(runner: Runner) -> str:
    """Return what the present attempt is asked to do, without what it is told of an earlier conversation."""
    if runner.resumed or _goes_on_told(runner):
        return get_backend(runner.backend).resumed_prompt
    return runner.prompt


def _is_told(runner: Runner) -> bool:
    rebuilt = runner.session is not None and runner.session.began == Beginning.REBUILT
    return rebuilt and runner.conversation_mode == ConversationMode.NEW


def _goes_on_told(runner: Runner) -> bool:
    """Say whether it is told what it said and did itself, before it was interrupted."""
    if not _is_told(runner) or runner.generation == 1:
        return False
    return runner.session is not None and has_answered(runner, runner.session.resumed_from_id)


def _with_context(runner: Runner) -> Runner:
    """Return the runner with the earlier conversation before its prompt, if its session was rebuilt from one."""
    if not _is_told(runner):
        return runner
    context = Message.objects.filter(session=runner.session_id, key=CONTEXT_KEY).values_list("text", flat=True).first()
    attempted = copy(runner)
    attempted.prompt = f"{context or ''}{said_prompt(runner)}"
    return attempted
