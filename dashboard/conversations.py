"""What can be done with a session whose program knows it by an id of its own."""

from django.conf import settings

from runners.backends import get_backend
from runners.models import Session


def conversation_verbs(session: Session | None) -> dict[str, bool]:
    """Return whether a session can be continued and forked; that of a backend that is gone can be neither."""
    if session is None or session.backend not in settings.RUNNER_BACKENDS:
        return {"can_continue": False, "can_fork": False}
    backend = get_backend(session.backend)
    return {"can_continue": backend.resumes, "can_fork": backend.forks}
