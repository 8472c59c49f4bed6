"""Launch with one transaction what many callers ask for at once, each by itself."""

from collections.abc import Sequence
from typing import Any

import structlog
from django.db import transaction

from runners.backends.base import LaunchRequest
from runners.exceptions import LaunchRefused
from runners.models import Runner
from runners.services.launch import Asker, launch_all
from runners.together import Together

log = structlog.get_logger(__name__)

#: Of one transaction, which holds the locks of its project and of nodes for about a millisecond a runner.
MOST_TOGETHER = 50


def launch_beside_others(project_name: str, request: LaunchRequest, *, actor: str, user: Any = None) -> Runner:
    """Launch a runner as launch_runner() does, in one transaction with those that others want in the project just now.

    Each is launched or refused by itself, and is its own asker's in history, audit log and trace. Others are those of
    this process. Only for callers outside a transaction: it has committed when this returns, and may have run over
    another thread's connection.
    """
    # Before it waits: of those that wait one answers for all, and they may hold all connections there are.
    transaction.get_connection().ensure_connection()
    return _together.ask(project_name, (request, Asker(actor, user)))


def _launch_all(project_name: str, wanted: Sequence[tuple[LaunchRequest, Asker]]) -> Sequence[Runner | Exception]:
    try:
        came = launch_all(project_name, wanted)
    except LaunchRefused as refusal:
        return [refusal] * len(wanted)  # it is the project's own
    except Exception as error:
        if len(wanted) == 1:
            return [error]
        # One that the database does not take has undone all of them: the others are launched without it.
        log.exception("not_launched_together", project=project_name, runners=len(wanted))
        return [_launch_all(project_name, [each])[0] for each in wanted]
    return [came.result(place) for place in range(len(wanted))]


_together = Together(_launch_all, most=MOST_TOGETHER)
