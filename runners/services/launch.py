"""Launch a runner: row, event and start task in one transaction, or a refusal before anything starts."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction
from django.utils import timezone

from outbox import trace
from outbox.caller import Caller, current_caller, on_behalf_of
from outbox.services import bunched, enqueue
from runners import acts, events
from runners.backends import get_backend, running_totals
from runners.backends.base import Backend, LaunchRequest, MessageFact
from runners.exceptions import InvalidRequest, LaunchRefused, NoPlace, ProgramNotFound, ProjectNotActive
from runners.models import Node, Observation, Project, Runner, Session
from runners.services.containers import CONTAINER, check_runtime
from runners.services.conversation import Told, add_all_messages
from runners.services.credentials import own_credential
from runners.services.labels import check_labels
from runners.services.limits import check_limits
from runners.services.paths import workspace_within
from runners.services.places import Places
from runners.services.rebuild import begin_rebuilt
from runners.services.redaction import redacted
from runners.services.resume import said_prompt
from runners.services.way_on import Way, way_on
from runners.services.worktrees import check_repository
from runners.several import Several
from runners.shim.identity import boot_id
from runners.sql_rows import insert_all
from runners.states import Beginning, ConversationMode, Isolation, OnLimit, ProjectStatus, Role, RunnerStatus
from runners.transitions import start_waiting_soon, tell_arrival, write_history

Runners = Several[int, Runner]

START_TASK = "runners.tasks.start_runner"
START_MANY_TASK = "runners.tasks.start_runners"
#: One after the other, each some milliseconds: more would keep the last waiting while the worker's other threads rest.
STARTS_IN_A_TASK = 8


#: Of one call: its transaction holds the project's lock and those of nodes, for about a millisecond a runner.
MOST_AT_ONCE = 500


@dataclass
class _Plan:
    """A launch that will be: what was checked and taken for it."""

    request: LaunchRequest
    workspace: str
    session: Session
    node: Node | None
    #: For what it waits, where it has no node.
    waits_because: str
    #: Of a fork within a conversation: the program's own id of the place.
    anchor: str = ""


@dataclass(frozen=True)
class Asker:
    """Who asks for a launch: `actor` for the history (user:<name>, token:<name>, system:<part>), by which door."""

    actor: str
    user: Any = None
    caller: Caller = field(default_factory=current_caller)


def launch_runner(project_name: str, request: LaunchRequest, *, actor: str, user: Any = None) -> Runner:
    """Launch a runner in a project and return it. Raises LaunchRefused, and then nothing was written.

    It is `starting`; or `queued`, where quota or nodes are full and the request's on_limit is to wait.
    `actor` and `user` are as Asker has them.
    """
    return launch_runners(project_name, [request], actor=actor, user=user).only()


def launch_runners(project_name: str, requests: Sequence[LaunchRequest], *, actor: str, user: Any = None) -> Runners:
    """Launch several runners as launch_all() does, all for one asker."""
    asker = Asker(actor, user)
    return launch_all(project_name, [(request, asker) for request in requests])


@transaction.atomic
def launch_all(project_name: str, wanted: Sequence[tuple[LaunchRequest, Asker]]) -> Runners:
    """Launch several runners in one transaction, by the rules of launch_runner() for each; keys are places in the list.

    The first in the list get the places there are. One that is refused keeps nobody else from starting.
    Raises InvalidRequest for more than MOST_AT_ONCE, and what is wrong with the project itself.
    """
    if len(wanted) > MOST_AT_ONCE:
        raise InvalidRequest(f"{len(wanted)} runners are more than the {MOST_AT_ONCE} that are launched at once.")
    project = _project_named(project_name)
    _check_active(project)
    launches, came = Launches([project], several=len(wanted) > 1), Runners()
    for number, (request, asker) in enumerate(wanted):
        try:
            came.done[number] = launches.add(project, request, asker)
        except LaunchRefused as refusal:
            came.refused[number] = refusal
    launches.write()
    return came


class Launches:
    """The launches of one transaction: each is refused or gets its place when it is added, all are written together.

    `projects` are those that may be launched in; `several`: more than one may be added.
    """

    def __init__(self, projects: Iterable[Project], *, several: bool = False) -> None:
        self._places = Places(projects, several=several)
        self._plans: list[tuple[_Plan, Runner]] = []
        self._launched: list[tuple[Runner, Asker]] = []

    def add(self, project: Project, request: LaunchRequest, asker: Asker) -> Runner:
        """Return the runner that will be, by the rules of launch_runner(). Raises LaunchRefused, and adds nothing."""
        _check_active(project)
        plan = _plan(project, request, self._places)
        runner = _runner(project, plan, user=asker.user)
        self._plans.append((plan, runner))
        self._launched.append((runner, asker))
        return runner

    def write(self) -> None:
        """Write all that were added: rows, history, acts and events, and their start tasks."""
        if self._plans:
            with bunched():
                _insert(self._plans)
                _record(self._launched)


def _plan(project: Project, request: LaunchRequest, places: Places) -> _Plan:
    """Check a request and take its place. Writes nothing but a session that is rebuilt.

    Raises LaunchRefused, and then no place is taken.
    """
    backend = get_backend(request.backend)
    backend.check(request)
    check_runtime(backend, request)
    workspace = workspace_within(project.path, request.workspace)
    check_labels(request.labels)
    check_limits(project, request.limits)
    request = _isolated(request, project, workspace)
    way = way_on(project, request)
    if way is not None:
        request = replace(request, conversation_mode=ConversationMode.NEW if way.because else way.mode)
    node, waits_because = _place(places, project, request, way.home if way else None)
    try:
        if node is not None:
            check_program(backend, request, node)
        anchor = way.anchor if way and not way.because else ""
        return _Plan(request, workspace, _session(project, request, way), node, waits_because, anchor)
    except LaunchRefused:
        if node is not None:
            places.give_back(project, node)
        raise


def _record(launched: Sequence[tuple[Runner, Asker]]) -> None:
    """Write history, acts and events of new runners, and send those that have a place to their nodes. In a bunch."""
    write_history((runner, "", asker.actor) for runner, asker in launched)
    starts = []
    for runner, asker in launched:
        with on_behalf_of(asker.caller):
            tell_arrival(runner, "", actor=asker.actor)
            acts.launched(runner, actor=asker.actor)
            assert runner.session is not None  # noqa: S101 - a new runner has one
            resumed = runner.conversation_mode != ConversationMode.NEW
            events.session_opened(runner.session, runner, resumed=resumed)
            starts += [Start(runner)] if runner.node is not None else []
    send_starts(starts)
    if any(runner.node is None for runner, _ in launched):
        # A place may have become free between the look and the commit, and whoever freed it saw nobody waiting.
        start_waiting_soon()


def _isolated(request: LaunchRequest, project: Project, workspace: str) -> LaunchRequest:
    """Return the request with the project's choice where it has none of its own. Raises NotIsolated."""
    chosen = replace(
        request,
        isolation=request.isolation or project.isolation,
        worktree_end=request.worktree_end or project.worktree_end,
    )
    if chosen.isolation == Isolation.WORKTREE:
        check_repository(workspace)
    return chosen


def _place(places: Places, project: Project, request: LaunchRequest, home: Node | None) -> tuple[Node | None, str]:
    """Return the node, or None and what is waited for. Of a conversation that has a home it is that."""
    try:
        return places.take(project, request, only=home), ""
    except NoPlace as refusal:
        if request.on_limit != OnLimit.WAIT:
            raise
        return None, f"waits: {refusal.message}"[:200]


def send_start(runner: Runner) -> None:
    """Send the start task of this attempt to its node. It may be sent again: a started attempt is not started twice."""
    assert runner.node is not None  # noqa: S101 - a CHECK: only a queued runner has none
    enqueue(START_TASK, args=[str(runner.pk), runner.generation], queue=runner.node.queue, aggregate=runner.aggregate)


@dataclass(frozen=True)
class Start:
    """An attempt that is to be started on its node, and the trace that its start belongs to."""

    runner: Runner
    traceparent: str = field(default_factory=trace.current)


def send_starts(starts: Sequence[Start]) -> None:
    """Send several start tasks, those of a node some in one message: each costs the relay and the node some of it."""
    if len(starts) == 1:
        with trace.following(starts[0].traceparent):
            send_start(starts[0].runner)
        return
    by_node: dict[Node, list[Start]] = {}
    for start in starts:
        assert start.runner.node is not None  # noqa: S101 - the caller chose them
        by_node.setdefault(start.runner.node, []).append(start)
    for node, own in by_node.items():
        for first in range(0, len(own), STARTS_IN_A_TASK):
            several = own[first : first + STARTS_IN_A_TASK]
            attempts = [[str(each.runner.pk), each.runner.generation, each.traceparent] for each in several]
            # Not in the runners' own order: a stop that overtakes it sees to it that nothing starts.
            enqueue(START_MANY_TASK, args=[attempts], queue=node.queue, aggregate=f"node:{node.name}")


def _grace(request: LaunchRequest) -> int:
    return get_backend(request.backend).grace_seconds if request.grace_seconds is None else request.grace_seconds


def _project_named(name: str) -> Project:
    project = Project.objects.filter(name=name).first()
    if project is None:
        raise InvalidRequest(f"There is no project {name!r}.", field="project")
    return project


def _check_active(project: Project) -> None:
    if project.status == ProjectStatus.ARCHIVED:
        raise ProjectNotActive(f"{project.name} is archived: nothing is launched in it.", field="project")


def check_program(backend: Backend, request: LaunchRequest | Runner, node: Node) -> None:
    """Raise ProgramNotFound if the command's program is not there; that of a backend was asked for with the slot."""
    if request.runtime == CONTAINER:
        return  # the image has it, or has not
    # Only the node knows its own file system; where it is this machine, the answer is had at once.
    if not backend.program and node.boot_id == boot_id() and request.argv and backend.find_for(request) is None:
        raise ProgramNotFound(f"There is no program {request.argv[0]!r} on {node.name}.", field="argv", node=node.name)


def _session(project: Project, request: LaunchRequest, way: Way | None) -> Session:
    """Return the session of a launch: a new one is not written yet, but for one that is rebuilt."""
    if way is None:
        return Session(project=project, backend=request.backend, title=title_of(request))
    if way.because:
        return begin_rebuilt(way.origin, way.until, because=way.because, title=title_of(request), prompt=request.prompt)
    if way.mode == ConversationMode.RESUME:
        return way.origin
    # The program makes the copy when it starts.
    return Session(
        project=project,
        backend=request.backend,
        title=title_of(request),
        began=Beginning.FORKED,
        resumed_from=way.origin,
        forked_at=way.until,
    )


def title_of(request: LaunchRequest) -> str:
    text = redacted(request.title.strip() or request.prompt.strip() or " ".join(request.argv))
    return text.splitlines()[0][:200] if text else ""


def _insert(plans: Sequence[tuple[_Plan, Runner]]) -> None:
    insert_all([plan.session for plan, _ in plans if plan.session._state.adding])
    runners = [runner for _, runner in plans]
    insert_all(runners)
    insert_all(
        [
            Observation(runner=runner, generation=1, parser_state=carried_state(plan.session, runner))
            for plan, runner in plans
        ]
    )
    projects = {runner.project_id for runner in runners}
    Project.objects.filter(pk__in=projects).update(last_launch_at=timezone.now())
    enter_prompts(runners)


def _runner(project: Project, plan: _Plan, *, user: Any) -> Runner:
    runner_id, request = uuid.uuid4(), plan.request
    return Runner(
        id=runner_id,
        name=request.name or f"{request.backend.replace('_', '-')}-{runner_id.hex[:6]}",
        project=project,
        node=plan.node,
        session=plan.session,
        backend=request.backend,
        runtime=request.runtime,
        image=request.image,
        network=request.network,
        container_user=request.container_user,
        argv=request.argv,
        prompt=request.prompt,
        model=request.model,
        flags=request.flags,
        environment=request.environment,
        workspace=plan.workspace,
        isolation=request.isolation,
        worktree_end=request.worktree_end,
        conversation_mode=request.conversation_mode,
        approvals=request.approvals,
        fork_anchor=plan.anchor,
        grace_seconds=_grace(request),
        labels=list(dict.fromkeys(request.labels)),
        limits=request.limits,
        priority=request.priority,
        on_limit=request.on_limit,
        credential=own_credential(request),
        restart_policy=request.restart_policy,
        max_restarts=request.max_restarts,
        agent_name=request.agent_name,
        personality_name=request.personality_name,
        requested_by=user,
        status=RunnerStatus.QUEUED if plan.node is None else RunnerStatus.STARTING,
        reason=plan.waits_because,
    )


def enter_prompt(runner: Runner) -> None:
    """Enter what this attempt is asked to do as a message of its session."""
    enter_prompts([runner])


def enter_prompts(runners: Sequence[Runner]) -> None:
    """Enter what these attempts are asked to do as messages of their sessions."""
    # Of a rebuilt session the quotation is a message of its own.
    asked = [(runner.session, runner, said_prompt(runner)) for runner in runners]
    add_all_messages(
        Told(session, runner, [_said(runner, prompt)])
        for session, runner, prompt in asked
        if session is not None and prompt.strip()
    )


def _said(runner: Runner, prompt: str) -> MessageFact:
    key = f"prompt:{runner.pk}:{runner.generation}"
    return MessageFact(key=key, role=Role.USER, text=redacted(prompt), at=timezone.now())


def carried_state(session: Session, runner: Runner) -> dict[str, Any]:
    """Return what the parser of a resumed conversation must know: the running totals its program goes on from."""
    if runner.conversation_mode == ConversationMode.NEW:
        return {}
    forked = runner.conversation_mode == ConversationMode.FORK
    last = (
        Observation.objects.filter(runner__session=session.resumed_from if forked else session)
        .exclude(runner=runner)
        .order_by("-runner__created_at")
        .first()
    )
    totals = last.parser_state.get("totals") if last else None
    if totals and forked:
        totals = running_totals.handed_on(totals)
    return {"totals": totals} if totals else {}
