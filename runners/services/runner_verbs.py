"""What operations may do to runners, and what runners are narrowed by."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import Q

from runners.exceptions import InvalidRequest
from runners.models import Runner
from runners.querysets import RunnerQuerySet
from runners.services.operations import filters
from runners.services.operations.filters import exactly, moment, texts
from runners.services.operations.verbs import Verb
from runners.services.restart import restart_runner, restart_runners
from runners.services.steer import (
    MAX_GRACE_SECONDS,
    pause_runner,
    pause_runners,
    resume_runner,
    resume_runners,
    stop_runner,
    stop_runners,
)
from runners.several import Several
from runners.states import TERMINAL, RunnerStatus

CHANGE = "runners.change_runner"
SEARCHED = ("name", "prompt", "model", "reason")


def matching_runners(wanted: Mapping[str, Any]) -> RunnerQuerySet:
    """Return the runners that a filter leaves, newest first. Raises InvalidRequest."""
    return narrow(Runner.objects.order_by("-created_at", "-pk"), wanted)


def narrow(runners: RunnerQuerySet, wanted: Mapping[str, Any]) -> RunnerQuerySet:
    """Return `runners` narrowed by a filter: see FILTERS. Raises InvalidRequest."""
    return filters.narrow(runners, wanted, FILTERS, items="Runners")


def _ids(value: Any) -> Q:
    return Q(pk__in=[UUID(str(one)) for one in texts(value)])


def _status(value: Any) -> Q:
    return Q(status__in=[RunnerStatus(one).value for one in texts(value)])


def _open(value: Any) -> Q:
    if not isinstance(value, bool):
        raise TypeError("true or false is wanted.")
    return ~Q(status__in=TERMINAL) if value else Q(status__in=TERMINAL)


def _search(value: Any) -> Q:
    """Match a part of name, prompt, model or reason; and the id, when the text is one."""
    text = str(value)
    found = Q()
    for name in SEARCHED:
        found |= Q(**{f"{name}__icontains": text})
    try:
        return found | Q(pk=UUID(text))
    except ValueError:
        return found


FILTERS: dict[str, Callable[[Any], Q]] = {
    "ids": _ids,
    "status": _status,
    "open": _open,
    "project": partial(exactly, "project__name"),
    "node": partial(exactly, "node__name"),
    "backend": partial(exactly, "backend"),
    "session": lambda value: Q(session=UUID(str(value))),
    "created_after": partial(moment, "created_at__gte"),
    "created_before": partial(moment, "created_at__lt"),
    "search": _search,
}


def _grace(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_GRACE_SECONDS:
        raise InvalidRequest(f"grace_seconds is a whole number from 0 to {MAX_GRACE_SECONDS}.", field="parameters")
    return value


def _unless(*statuses: RunnerStatus) -> Callable[[Runner], str]:
    """Return what says why a runner cannot be meant: it is in none of these states."""
    return lambda runner: "" if runner.status in statuses else f"It is {runner.status}."


def _why_not_stop(runner: Runner, **parameters: Any) -> str:
    # A stop also calls off a restart that is due.
    return "It has ended." if runner.status in TERMINAL and runner.restart_at is None else ""


def _kill(runner_id: UUID, *, actor: str) -> Runner:
    return stop_runner(runner_id, actor=actor, grace_seconds=0)


def _kill_many(ids: Iterable[UUID], *, actor: str) -> Several[UUID, Runner]:
    return stop_runners(ids, actor=actor, grace_seconds=0)


S = RunnerStatus
VERBS = (
    Verb(
        name="runner.stop",
        label="Stop",
        items="runners",
        permission=CHANGE,
        matching=matching_runners,
        why_not=_why_not_stop,
        act=stop_runner,
        act_many=stop_runners,
        parameters={"grace_seconds": _grace},
        grave=True,
    ),
    Verb(
        name="runner.kill",
        label="Kill",
        items="runners",
        permission=CHANGE,
        matching=matching_runners,
        why_not=_why_not_stop,
        act=_kill,
        act_many=_kill_many,
        grave=True,
    ),
    Verb(
        name="runner.pause",
        label="Pause",
        items="runners",
        permission=CHANGE,
        matching=matching_runners,
        why_not=_unless(S.RUNNING),
        act=pause_runner,
        act_many=pause_runners,
    ),
    Verb(
        name="runner.resume",
        label="Resume",
        items="runners",
        permission=CHANGE,
        matching=matching_runners,
        why_not=_unless(S.PAUSED),
        act=resume_runner,
        act_many=resume_runners,
    ),
    Verb(
        name="runner.restart",
        label="Start again",
        items="runners",
        permission=CHANGE,
        matching=matching_runners,
        why_not=_unless(S.TERMINATED, S.FAILED),
        act=restart_runner,
        act_many=restart_runners,
    ),
)
