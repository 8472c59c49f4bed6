"""Give a job to an agent, which launches its runner, or to a person."""

from typing import Any

from django.db import transaction

from agents import acts
from agents.exceptions import AgentMoveRefused, InvalidJob, JobMoveRefused
from agents.models import Agent, Assignment, Job, Personality
from agents.prompts import render_prompt
from agents.services.personalities import keep_version
from agents.services.time import start_clock_of
from agents.services.todos import begin_todo
from agents.states import AVAILABLE, AgentStatus, Decision, JobStatus
from agents.transitions import locked_agent, locked_job, move, move_job
from runners.backends import get_backend
from runners.backends.base import LaunchRequest
from runners.models import Project
from runners.services import launch_runner
from runners.services.limits import within_project
from runners.states import ApprovalMode, Isolation, OnLimit, RestartPolicy


@transaction.atomic
def assign_job(
    job_id: str,
    agent_id: int,
    *,
    actor: str,
    user: Any = None,
    backend: str = "",
    on_limit: str = OnLimit.REFUSE,
    approvals: str = "",
) -> Assignment:
    """Give a job to an agent: its runner is launched in the job's project with the rendered prompt.

    `backend` and `approvals` are used instead of the personality's. Raises JobMoveRefused, AgentMoveRefused,
    InvalidJob, and LaunchRefused where the runner is refused; then nothing was written.
    """
    job = locked_job(job_id)
    _check_ready(job)
    agent = locked_agent(agent_id)
    if agent.status not in AVAILABLE:
        raise AgentMoveRefused(f"{agent.name} is {agent.status}: it cannot take a job.", status=agent.status)
    if agent.assignments.open().exists():
        raise AgentMoveRefused(f"The last runner of {agent.name} has not ended yet.", status=agent.status)
    project = _project(job, agent)
    request = _request(job, agent, project, backend=backend, on_limit=on_limit, approvals=approvals)
    runner = launch_runner(project.name, request, actor=actor, user=user)
    assignment = Assignment.objects.create(
        job=job,
        agent=agent,
        runner=runner,
        personality_version=keep_version(agent.personality, actor=actor),
        actor=actor,
    )
    _begin(job, actor=actor, worker=agent.name, runner_id=runner.pk)
    acts.on_job("assign", job, actor=actor, after={"agent": agent.name, "runner": str(runner.pk)})
    move(agent.pk, AgentStatus.WORKING, actor=actor, job_id=job.pk, runner_id=runner.pk)
    begin_todo(assignment, actor=actor)
    start_clock_of(assignment, actor=actor)
    return assignment


@transaction.atomic
def assign_person(job_id: str, person: Any, *, actor: str) -> Assignment:
    """Give a job to a person: no runner is launched, and they say when it is done. Raises JobMoveRefused."""
    job = locked_job(job_id)
    _check_ready(job)
    assignment = Assignment.objects.create(job=job, person=person, actor=actor)
    _begin(job, actor=actor, worker=person.get_username())
    acts.on_job("assign", job, actor=actor, after={"person": person.get_username()})
    return assignment


def _check_ready(job: Job) -> None:
    if job.status != JobStatus.PENDING:
        raise JobMoveRefused(f"{job.pk} is {job.get_status_display().lower()}: it cannot start.", status=job.status)


def _begin(job: Job, **told: Any) -> None:
    # Whoever assigns a job that asked what to do has decided.
    move_job(job.pk, JobStatus.IN_PROGRESS, decision=Decision.NONE, **told)


def _project(job: Job, agent: Agent) -> Project:
    if job.project and agent.project and job.project != agent.project:
        raise InvalidJob(f"{agent.name} works in {agent.project}, {job.pk} is in {job.project}.", field="agent")
    project = job.project or agent.project
    if project is None:
        raise InvalidJob(f"Neither {job.pk} nor {agent.name} has a project to work in.", field="project")
    return project


def _request(job: Job, agent: Agent, project: Project, *, backend: str, on_limit: str, approvals: str) -> LaunchRequest:
    role = agent.personality
    own = not backend or backend == role.default_backend
    return LaunchRequest(
        backend=backend or role.default_backend,
        name=f"{agent.name}-{job.pk.removeprefix('job-')}"[:80],
        prompt=render_prompt(role.role_prompt, project=project, job=job, agent=agent),
        # The prompt begins with the role, which is the same for every job.
        title=job.title,
        # Another program has other models and flags.
        model=role.model if own else "",
        flags=role.flags if own else [],
        argv=role.argv,
        environment={"STRATAVORE_AGENT": agent.name, "STRATAVORE_JOB": job.pk, "STRATAVORE_PROJECT": project.name},
        # Empty: as the project says.
        isolation=Isolation.WORKTREE if job.worktree else "",
        grace_seconds=role.grace_seconds,
        limits=within_project(project, _limits(role)),
        restart_policy=RestartPolicy.ON_FAILURE if role.max_restarts else RestartPolicy.NEVER,
        max_restarts=role.max_restarts,
        on_limit=on_limit,
        approvals=approvals or _approvals(role, backend or role.default_backend),
        # Their budgets count it.
        agent_name=agent.name,
        personality_name=role.name,
    )


def _approvals(role: Personality, backend: str) -> str:
    # A program that cannot ask denies: less than the role allows, never more.
    return role.approvals if get_backend(backend).asks else ApprovalMode.DENY


def _limits(role: Personality) -> dict[str, int]:
    limits: dict[str, int] = dict(role.limits)
    if role.max_minutes is not None:
        longest = role.max_minutes * 60
        limits["wall_seconds"] = min(longest, limits.get("wall_seconds", longest))
    return limits
