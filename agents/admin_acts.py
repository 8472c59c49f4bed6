"""Acts of the admin on many records at once."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from agents.exceptions import AgentError
from runners.actors import actor_of
from runners.exceptions import RunnerError

#: Of a thousand refusals nobody reads each.
MAX_REFUSALS_TOLD = 10


def act_on_each(
    page: ModelAdmin, request: HttpRequest, ids: Iterable[Any], verb: Callable[..., Any], done: str
) -> None:
    """Call the service for each record, each in its own transaction; tell how many were done, and each refusal."""
    refusals, count = [], 0
    for record_id in list(ids):
        try:
            verb(record_id, actor=actor_of(request))
        except (AgentError, RunnerError) as refusal:
            refusals.append(refusal.message)
        else:
            count += 1
    if count:
        page.message_user(request, f"{count} {done}.", messages.SUCCESS)
    for message in refusals[:MAX_REFUSALS_TOLD]:
        page.message_user(request, message, messages.WARNING)
    if len(refusals) > MAX_REFUSALS_TOLD:
        page.message_user(request, f"{len(refusals) - MAX_REFUSALS_TOLD} more were refused.", messages.WARNING)
