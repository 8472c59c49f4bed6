"""Launch a runner: row, event and start task in one transaction, or a refusal before anything starts."""

import uuid
from dataclasses import replace
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from outbox.services import enqueue
from runners import acts, events
from runners.backends import get_backend, running_totals
from runners.backends.base import Backend, LaunchRequest
from runners.exceptions import InvalidRequest, NoPlace, ProgramNotFound, ProjectNotActive
from runners.models import Message, Node, Observation, Project, Runner, Session
from runners.services.containers import CONTAINER, check_runtime
from runners.services.credentials import own_credential
from runners.services.labels import check_labels
from runners.services.limits import check_limits
from runners.services.paths import workspace_within
from runners.services.places import take_place
from runners.services.redaction import redacted
from runners.services.resume import as_attempted
from runners.services.worktrees import check_repository
from runners.shim.identity import boot_id
from runners.states import ConversationMode, Isolation, OnLimit, ProjectStatus, Role, RunnerStatus
from runners.transitions import record_arrival, start_waiting_soon

START_TASK = "runners.tasks.start_runner"


@transaction.atomic
def launch_runner(project_name: str, request: LaunchRequest, *, actor: str, user: Any = None) -> Runner:
    """Launch a runner in a project and return it. Raises LaunchRefused, and then nothing was written.

    It is `starting`; or `queued`, where quota or nodes are full and the request's on_limit is to wait.
    `actor` is who asked, for the history: user:<name>, token:<name> or system:<part>.
    """
    project = _open_project(project_name)
    backend = get_backend(request.backend)
    backend.check(request)
    check_runtime(backend, request)
    workspace = workspace_within(project.path, request.workspace)
    check_labels(request.labels)
    check_limits(project, request.limits)
    request = _isolated(request, project, workspace)
    node, waits_because = _place(project, request)
    if node is not None:
        check_program(backend, request, node)
    session = _session(project, request)
    runner = _insert(project, node, session, request, workspace=workspace, user=user, reason=waits_because)
    record_arrival(runner, "", actor=actor)
    acts.launched(runner, actor=actor)
    events.session_opened(session, runner, resumed=request.conversation_mode != ConversationMode.NEW)
    if node is not None:
        send_start(runner)
    else:
        # A place may have become free between the look and the commit, and whoever freed it saw nobody waiting.
        start_waiting_soon()
    return runner


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


def _place(project: Project, request: LaunchRequest) -> tuple[Node | None, str]:
    """Return the node, or None and what is waited for."""
    try:
        return take_place(project, request), ""
    except NoPlace as refusal:
        if request.on_limit != OnLimit.WAIT:
            raise
        return None, f"waits: {refusal.message}"[:200]


def send_start(runner: Runner) -> None:
    """Send the start task of this attempt to its node. It may be sent again: a started attempt is not started twice."""
    assert runner.node is not None  # noqa: S101 - a CHECK: only a queued runner has none
    enqueue(START_TASK, args=[str(runner.pk), runner.generation], queue=runner.node.queue, aggregate=runner.aggregate)


def _grace(request: LaunchRequest) -> int:
    return get_backend(request.backend).grace_seconds if request.grace_seconds is None else request.grace_seconds


def _open_project(name: str) -> Project:
    project = Project.objects.filter(name=name).first()
    if project is None:
        raise InvalidRequest(f"There is no project {name!r}.", field="project")
    if project.status == ProjectStatus.ARCHIVED:
        raise ProjectNotActive(f"{name} is archived: nothing is launched in it.", field="project")
    return project


def check_program(backend: Backend, request: LaunchRequest | Runner, node: Node) -> None:
    """Raise ProgramNotFound if the command's program is not there; that of a backend was asked for with the slot."""
    if request.runtime == CONTAINER:
        return  # the image has it, or has not
    # Only the node knows its own file system; where it is this machine, the answer is had at once.
    if not backend.program and node.boot_id == boot_id() and request.argv and backend.find_for(request) is None:
        raise ProgramNotFound(f"There is no program {request.argv[0]!r} on {node.name}.", field="argv", node=node.name)


def _session(project: Project, request: LaunchRequest) -> Session:
    if request.conversation_mode == ConversationMode.NEW:
        return Session.objects.create(project=project, backend=request.backend, title=_title(request))
    session = Session.objects.filter(pk=request.session_id, project=project, backend=request.backend).first()
    if session is None:
        raise InvalidRequest(
            f"There is no {request.backend} session {request.session_id!r} in {project.name} to go on with.",
            field="session_id",
        )
    return _fork(session, request) if request.conversation_mode == ConversationMode.FORK else session


def _fork(origin: Session, request: LaunchRequest) -> Session:
    """Return a new session that begins as a copy of `origin`: the program makes the copy when it starts."""
    if not origin.external_id:
        raise InvalidRequest(
            "Its program has not told its own id of this session: it cannot be forked.", field="session_id"
        )
    return Session.objects.create(
        project=origin.project, backend=origin.backend, title=_title(request), resumed_from=origin
    )


def _title(request: LaunchRequest) -> str:
    text = redacted(request.title.strip() or request.prompt.strip() or " ".join(request.argv))
    return text.splitlines()[0][:200] if text else ""


def _insert(
    project: Project,
    node: Node | None,
    session: Session,
    request: LaunchRequest,
    *,
    workspace: str,
    user: Any,
    reason: str,
) -> Runner:
    runner_id = uuid.uuid4()
    runner = Runner.objects.create(
        id=runner_id,
        name=request.name or f"{request.backend.replace('_', '-')}-{runner_id.hex[:6]}",
        project=project,
        node=node,
        session=session,
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
        workspace=workspace,
        isolation=request.isolation,
        worktree_end=request.worktree_end,
        conversation_mode=request.conversation_mode,
        approvals=request.approvals,
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
        status=RunnerStatus.QUEUED if node is None else RunnerStatus.STARTING,
        reason=reason,
    )
    Observation.objects.create(runner=runner, generation=1, parser_state=carried_state(session, runner))
    Project.objects.filter(pk=project.pk).update(last_launch_at=timezone.now())
    enter_prompt(runner)
    return runner


def enter_prompt(runner: Runner) -> None:
    """Enter what this attempt is asked to do as a message of its session."""
    prompt = as_attempted(runner).prompt
    if runner.session is None or not prompt.strip():
        return
    now = timezone.now()
    Message.objects.create(
        session=runner.session,
        runner=runner,
        key=f"prompt:{runner.pk}:{runner.generation}",
        role=Role.USER,
        text=redacted(prompt),
        at=now,
    )
    Session.objects.filter(pk=runner.session.pk).update(message_count=F("message_count") + 1, last_message_at=now)


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
