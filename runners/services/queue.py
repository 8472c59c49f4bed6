"""Those that wait for a place: queued runners, and ended ones whose restart is due."""

from dataclasses import dataclass, field
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Count, IntegerField, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from runners.backends import get_backend
from runners.exceptions import (
    BudgetSpent,
    LaunchRefused,
    MoveRefused,
    NoNodeAvailable,
    NoPlace,
    ProgramNotFound,
    ProviderLimited,
    QuotaExceeded,
)
from runners.models import Node, Runner
from runners.querysets import RunnerQuerySet
from runners.scopes import in_scope
from runners.services.containers import CONTAINER
from runners.services.launch import check_program, enter_prompt, send_start
from runners.services.places import take_place
from runners.services.provider_limits import limits_in_force, wait_on
from runners.services.rebuild import home_of, rebuild
from runners.services.restart import restart_runner
from runners.sql import database_now, lock_for_transaction
from runners.states import OCCUPYING, BudgetScope, RunnerStatus
from runners.transitions import move

log = structlog.get_logger(__name__)

ACTOR = "system:queue"
#: Space of the advisory lock that lets one process at a time look at the queue.
QUEUE_LOCK = 7103
#: How the reason of one that waits begins, as a launch that waits has it too.
WAITS_FOR_PROVIDER = "waits: "


def start_waiting() -> int:
    """Start all that wait and find a place; return how many. May run anywhere, at any time, twice at once."""
    return restart_due() + start_queued()


def restart_due() -> int:
    """Restart the runners whose pause is over; one that finds no place stays due."""
    started = 0
    due = Runner.objects.filter(restart_at__lte=database_now()).order_by("restart_at").values_list("pk", flat=True)
    for runner_id in due:
        try:
            restart_runner(runner_id, actor="system:restart")
            started += 1
        except ProviderLimited as refusal:
            wait_on(runner_id, refusal.facts["limit_id"])
        except (NoPlace, MoveRefused):
            continue
        except LaunchRefused as refusal:
            Runner.objects.filter(pk=runner_id).update(
                restart_at=None, reason=f"not restarted: {refusal.message}"[:200]
            )
    return started


def start_queued() -> int:
    """Start queued runners while there are places."""
    started, passed = 0, Passed()
    while True:
        outcome = _start_next(passed)
        if outcome is None:
            _forget_limits()
            return started
        started += outcome


@dataclass
class Passed:
    """Who is passed over in this round: projects with a full quota, and needs for which no node has room."""

    projects: set[int] = field(default_factory=set)
    #: Backend, runtime and labels: those who need the same would be refused the same.
    needs: list[tuple[str, str, list[str]]] = field(default_factory=list)
    #: Backend, account of their own, runtime and labels of those that wait for a provider.
    limited: list[dict[str, object]] = field(default_factory=list)
    #: Those whose conversation is on a node that cannot take them now: others may need that node for less.
    runners: list[UUID] = field(default_factory=list)
    #: Scope and key of budgets that are spent.
    scopes: list[tuple[str, str]] = field(default_factory=list)

    def waiting(self) -> RunnerQuerySet:
        """Return the queued runners that are left."""
        queued = Runner.objects.filter(status=RunnerStatus.QUEUED)
        runners = queued.exclude(project__in=self.projects).exclude(pk__in=self.runners)
        for backend, runtime, labels in self.needs:
            runners = runners.exclude(backend=backend, runtime=runtime, labels=labels)
        for like in self.limited:
            runners = runners.exclude(**like)
        for scope, key in self.scopes:
            runners = runners.exclude(in_scope(scope, key))
        return runners


@transaction.atomic
def _start_next(passed: Passed) -> int | None:
    """Start the next in line and return 1; 0 if it could not be, but another may; None when nothing is left to do."""
    lock_for_transaction(QUEUE_LOCK, 0)
    runner = next_in_line(passed)
    if runner is None:
        return None
    home = _home(runner)
    try:
        node = take_place(runner.project, runner, only=home)
        check_program(get_backend(runner.backend), runner, node)
    except BudgetSpent as refusal:
        if refusal.facts["scope"] == BudgetScope.GLOBAL:
            return None
        passed.scopes.append((refusal.facts["scope"], refusal.facts["scope_key"]))
        return 0
    except QuotaExceeded:
        passed.projects.add(runner.project_id)
        return 0
    except ProviderLimited as refusal:
        _wait_for_provider(runner, refusal, home, passed)
        return 0
    except NoNodeAvailable:
        if home is not None:
            passed.runners.append(runner.pk)
            return 0
        if not runner.labels and runner.runtime != CONTAINER and not get_backend(runner.backend).program:
            return None  # any node would have done
        passed.needs.append((runner.backend, runner.runtime, runner.labels))
        return 0
    except ProgramNotFound as refusal:
        reason = refusal.message
        move(runner.pk, RunnerStatus.TERMINATED, generation=runner.generation, actor=ACTOR, reason=reason)
        return 0
    moved = move(
        runner.pk, RunnerStatus.STARTING, generation=runner.generation, actor=ACTOR, node=node, ignores_limit=False
    )
    send_start(moved)
    return 1


def _wait_for_provider(runner: Runner, refusal: ProviderLimited, home: Node | None, passed: Passed) -> None:
    """Show it, and those that wait for the same, for what they wait, and pass them over."""
    queued = Runner.objects.filter(status=RunnerStatus.QUEUED)
    if home is not None:
        # That is the account of its home; others may go to a node of another.
        passed.runners.append(runner.pk)
        queued = queued.filter(pk=runner.pk)
    else:
        like = {name: getattr(runner, name) for name in ("backend", "credential", "runtime", "labels")}
        like["ignores_limit"] = False
        passed.limited.append(like)
        queued = queued.filter(**like)
    reason = f"{WAITS_FOR_PROVIDER}{refusal.message}"[:200]
    queued.exclude(reason=reason).update(reason=reason)


def _forget_limits() -> None:
    """Nobody waits for a provider's limit that is over; what else they wait for is told when they are looked at."""
    stale = Runner.objects.filter(status=RunnerStatus.QUEUED, reason__startswith=f"{WAITS_FOR_PROVIDER}provider limit")
    if stale.exists() and not limits_in_force():
        stale.update(reason="")


def _home(runner: Runner) -> Node | None:
    """Return the node that has the runner's conversation; None: any will do.

    That node may have gone while it waited: then its session is rebuilt.
    """
    home, gone = home_of(runner)
    if gone:
        before, changes = runner.session_id, rebuild(runner, because=gone)
        for name, value in changes.items():
            setattr(runner, name, value)
        runner.save(update_fields=list(changes))
        if runner.session_id != before:
            enter_prompt(runner)
    return home


def next_in_line(passed: Passed) -> Runner | None:
    """Return whose turn it is: of the project with the fewest at work, the highest priority, then the oldest."""
    at_work = (
        Runner.objects.filter(project=OuterRef("project"), status__in=OCCUPYING)
        .order_by()
        .values("project")
        .annotate(n=Count("pk"))
        .values("n")
    )
    return (
        passed.waiting()
        .annotate(at_work=Coalesce(Subquery(at_work, output_field=IntegerField()), 0))
        .select_related("project", "session")
        .order_by("at_work", "-priority", "created_at")
        .first()
    )


def queue_position(runner_id: UUID) -> int | None:
    """Return the runner's place in its project's line, from 1; None if it does not wait."""
    runner = Runner.objects.filter(pk=runner_id, status=RunnerStatus.QUEUED).first()
    if runner is None:
        return None
    ahead = Q(priority__gt=runner.priority) | Q(priority=runner.priority, created_at__lt=runner.created_at)
    line = Runner.objects.filter(project=runner.project_id, status=RunnerStatus.QUEUED)
    return line.filter(ahead).count() + 1
