"""Give a job to an agent, which launches its runner, or to a person."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction

from agents import acts
from agents.exceptions import AgentError, AgentMoveRefused, InvalidJob, JobMoveRefused
from agents.models import Agent, Assignment, Job, Personality
from agents.prompts import read_talk, render_prompt
from agents.services.personalities import keep_version
from agents.services.suggest import Pool
from agents.services.time import start_clocks_of
from agents.services.todos import begin_todos
from agents.states import AVAILABLE, AgentStatus, Decision, JobStatus
from agents.transitions import (
    Work,
    Worker,
    locked_agent,
    locked_agents,
    locked_job,
    move_jobs,
    move_many,
    no_such_agent,
)
from outbox.services import bunched
from runners.backends import get_backend
from runners.backends.base import LaunchRequest
from runners.exceptions import RunnerError
from runners.models import Project
from runners.services.launch import Asker, Launches
from runners.services.limits import within_project
from runners.several import Several
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
    _check_free(agent, at_work=agent.assignments.open().exists())
    project = _project(job, agent)
    request = _request(job, agent, project, backend=backend, on_limit=on_limit, approvals=approvals)
    launches = Launches([project])
    runner = launches.add(project, request, Asker(actor, user))
    launches.write()
    (assignment,) = _begin([Assignment(job=job, agent=agent, runner=runner, actor=actor)], actor=actor)
    return assignment


def assign_next_job(agent_id: int, *, actor: str) -> Assignment:
    """Give an agent the ready job that suits it best; its runner waits where there is no place for it.

    Raises AgentMoveRefused where no job is ready for it, and what assign_job() raises.
    """
    return assign_next_jobs([agent_id], actor=actor).only()


@transaction.atomic
def assign_next_jobs(ids: Iterable[int], *, actor: str) -> Several[int, Assignment]:
    """Do assign_next_job() to several, one after the other: the first have the first choice."""
    given, several, begun = list(dict.fromkeys(ids)), Several[int, Assignment](), []
    pool = Pool(list(Agent.objects.filter(pk__in=given)))
    agents = locked_agents(given)
    at_work = set(Assignment.objects.open().filter(agent__in=agents).values_list("agent_id", flat=True))
    read_talk(pool.jobs)
    projects = {job.project for job in pool.jobs if job.project} | {a.project for a in agents.values() if a.project}
    launches, asker = Launches(projects, several=len(given) > 1), Asker(actor)
    for agent_id in given:
        try:
            agent = agents.get(agent_id)
            if agent is None:
                raise no_such_agent(agent_id)
            job = pool.best_for(agent)
            if job is None:
                raise AgentMoveRefused(f"No job is ready for {agent.name}.", status=agent.status)
            _check_free(agent, at_work=agent_id in at_work)
            project = _project(job, agent)
            runner = launches.add(project, _request(job, agent, project, on_limit=OnLimit.WAIT), asker)
        except (AgentError, RunnerError) as refusal:
            several.refused[agent_id] = refusal
        else:
            pool.take(job)
            begun.append(Assignment(job=job, agent=agent, runner=runner, actor=actor))
    launches.write()
    several.done = {each.agent_id: each for each in _begin(begun, actor=actor) if each.agent_id}
    return several


@transaction.atomic
def assign_person(job_id: str, person: Any, *, actor: str) -> Assignment:
    """Give a job to a person: no runner is launched, and they say when it is done. Raises JobMoveRefused."""
    job = locked_job(job_id)
    _check_ready(job)
    (assignment,) = _begin([Assignment(job=job, person=person, actor=actor)], actor=actor)
    return assignment


def _check_ready(job: Job) -> None:
    if job.status != JobStatus.PENDING:
        raise JobMoveRefused(f"{job.pk} is {job.get_status_display().lower()}: it cannot start.", status=job.status)


def _check_free(agent: Agent, *, at_work: bool) -> None:
    if agent.status not in AVAILABLE:
        raise AgentMoveRefused(f"{agent.name} is {agent.status}: it cannot take a job.", status=agent.status)
    if at_work:
        raise AgentMoveRefused(f"The last runner of {agent.name} has not ended yet.", status=agent.status)


def _begin(assignments: Sequence[Assignment], *, actor: str) -> Sequence[Assignment]:
    """Write new assignments, with all that begins with them; their jobs and agents are locked."""
    by_agents = [(each, each.agent) for each in assignments if each.agent]
    versions = {role: keep_version(role, actor=actor) for role in {agent.personality for _, agent in by_agents}}
    for each, agent in by_agents:
        each.personality_version = versions[agent.personality]
    Assignment.objects.bulk_create(assignments)
    # Whoever assigns a job that asked what to do has decided.
    move_jobs(
        [each.job for each in assignments],
        JobStatus.IN_PROGRESS,
        actor=actor,
        workers={each.job_id: Worker(each.worker, each.runner_id) for each in assignments},
        decision=Decision.NONE,
    )
    with bunched():
        for each in assignments:
            told = {"agent": each.worker, "runner": str(each.runner_id)} if each.agent else {"person": each.worker}
            acts.on_job("assign", each.job, actor=actor, after=told)
    work = {agent.pk: Work(each.job_id, each.runner_id) for each, agent in by_agents}
    move_many([agent for _, agent in by_agents], AgentStatus.WORKING, actor=actor, work=work)
    begin_todos([each for each, _ in by_agents], actor=actor)
    start_clocks_of([each for each, _ in by_agents], actor=actor)
    return assignments


def _project(job: Job, agent: Agent) -> Project:
    if job.project and agent.project and job.project != agent.project:
        raise InvalidJob(f"{agent.name} works in {agent.project}, {job.pk} is in {job.project}.", field="agent")
    project = job.project or agent.project
    if project is None:
        raise InvalidJob(f"Neither {job.pk} nor {agent.name} has a project to work in.", field="project")
    return project


def _request(
    job: Job, agent: Agent, project: Project, *, on_limit: str, backend: str = "", approvals: str = ""
) -> LaunchRequest:
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
