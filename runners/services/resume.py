"""A restart that goes on in the session of the attempt before, where the program can, instead of beginning anew."""

from copy import copy

from runners.backends import get_backend
from runners.models import Message, Node, Runner
from runners.services.containers import CONTAINER
from runners.services.context import CONTEXT_KEY
from runners.states import Beginning, ConversationMode, Role


def can_resume(runner: Runner) -> bool:
    """Say whether the next attempt may go on in the session, on the node where this one was.

    The program must be able to, have told its own id of the conversation, and have said something in it. One that did
    not know the conversation any more begins anew. A container takes its conversations along when it goes.
    """
    backend = get_backend(runner.backend)
    if not backend.resumes or runner.runtime == CONTAINER or runner.session is None or not runner.session.external_id:
        return False
    if backend.knows_no_more(runner.reason):
        return False
    return Message.objects.filter(session=runner.session, runner=runner, role=Role.ASSISTANT).exists()


def resumes_on(runner: Runner, node: Node) -> bool:
    """Say whether an attempt on `node` goes on in the session: programs keep their conversations on their own disk."""
    return node.pk == runner.node_id and can_resume(runner)


def as_attempted(runner: Runner) -> Runner:
    """Return the runner as its present attempt is run, not to be saved: one that goes on has a short prompt."""
    if not runner.resumed:
        return _with_context(runner)
    attempted = copy(runner)
    attempted.conversation_mode = ConversationMode.RESUME
    attempted.prompt = get_backend(runner.backend).resumed_prompt
    return attempted


def _with_context(runner: Runner) -> Runner:
    """Return the runner with the earlier conversation before its prompt, if its session was rebuilt from one."""
    rebuilt = runner.session is not None and runner.session.began == Beginning.REBUILT
    if not rebuilt or runner.conversation_mode != ConversationMode.NEW:
        return runner
    context = Message.objects.filter(session=runner.session_id, key=CONTEXT_KEY).values_list("text", flat=True).first()
    attempted = copy(runner)
    attempted.prompt = f"{context or ''}{runner.prompt}"
    return attempted
