"""Assignment: an agent's runner is launched with its job, and what becomes of the runner becomes of the job."""

from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from agents.exceptions import AgentMoveRefused, InvalidAgent, InvalidJob, JobMoveRefused
from agents.figures import figures_of_agents, figures_of_jobs
from agents.models import Agent, Assignment, Job, TimeEntry, Todo
from agents.services import (
    assign_job,
    assign_person,
    cancel_job,
    complete_job,
    kill_agent,
    pause_agent,
    release_job,
    resume_agent,
    retire_agent,
    revive_agent,
    save_personality,
    set_dispatch,
)
from agents.services.dispatch import dispatch_all
from agents.services.runs import runner_ended, runner_steered, settle_ended
from agents.states import AgentStatus, Decision, JobStatus
from outbox.models import Entry
from runners.exceptions import QuotaExceeded
from runners.models import Runner
from runners.services import pause_runner, stop_runner
from runners.services.limits import set_limits
from runners.shim.limits import REASONS
from runners.states import RunnerStatus
from runners.transitions import move
from tests.agents.factories import (
    ACTOR,
    make_agent,
    make_job,
    make_personality,
    make_work,
    now_of,
    run_and_end,
)
from tests.agents.racing import at_once
from tests.callers import make_user
from tests.runners.factories import make_node, make_project

A, S = AgentStatus, JobStatus


def land(assignment: Assignment, status: str = "terminated", **changes: Any) -> None:
    """Let the runner end, and the news of it arrive."""
    run_and_end(assignment, status, **changes)
    assert assignment.runner_id is not None
    runner_ended(assignment.runner_id)


@pytest.mark.django_db
def test_an_assigned_agent_works_with_a_runner_that_is_told_its_role_and_its_job() -> None:
    make_node()
    project = make_project(name="shop")
    role = make_personality(role_prompt="You are {{ agent.name }} in {{ project.name }}.", max_restarts=2)
    agent = make_agent(role=role, name="ada-1")
    job = make_job(project, title="Mend the till", description="It jams.", deliverables=["a fix"])
    assignment = assign_job(job.pk, agent.pk, actor=ACTOR)
    runner = assignment.runner
    assert runner is not None
    assert (runner.project, runner.status, runner.restart_policy) == (project, "starting", "on_failure")
    assert runner.prompt == (
        f"You are ada-1 in shop.\n\n# Mend the till\n\n({job.pk})\n\nIt jams.\n\nDeliverables:\n- [ ] a fix"
    )
    assert runner.environment["STRATAVORE_JOB"] == job.pk
    assert (runner.agent_name, runner.personality_name) == ("ada-1", role.name)
    assert (now_of(agent).status, now_of(job).status) == (A.WORKING, S.IN_PROGRESS)
    assert assignment.personality_version is not None
    assert assignment.personality_version.version == 1
    assert (Todo.objects.get().status, TimeEntry.objects.get().status) == ("in_progress", "active")
    working = Entry.objects.get(type="agent.working").data
    assert (working["job_id"], working["runner_id"]) == (job.pk, str(runner.pk))


@pytest.mark.django_db
def test_a_run_records_the_version_it_used_whatever_becomes_of_the_role() -> None:
    role = make_personality(role_prompt="Old.")
    save_personality(role, {"role_prompt": "New."}, actor=ACTOR)
    make_node()
    assignment = assign_job(make_job(make_project()).pk, make_agent(role=role).pk, actor=ACTOR)
    save_personality(role, {"role_prompt": "Newest."}, actor=ACTOR)
    version = now_of(assignment).personality_version
    assert (version.version, version.content["role_prompt"]) == (2, "New.")
    assert [each.content["role_prompt"] for each in role.versions.all()] == ["Newest.", "New.", "Old."]


@pytest.mark.django_db
def test_a_run_that_ends_well_completes_the_job_and_frees_the_agent() -> None:
    work = make_work()
    land(work, exit_code=0, reason="exited")
    assert work.agent is not None
    agent = now_of(work.agent)
    assert (agent.status, now_of(work.job).status) == (A.IDLE, S.COMPLETED)
    assert [each.to_status for each in agent.moves.all()] == ["spawning", "idle", "working", "completed", "idle"]
    assert (Todo.objects.get().status, TimeEntry.objects.get().status) == ("completed", "completed")
    assert now_of(work).outcome == "completed"
    figures = figures_of_agents([agent.pk])[agent.pk]
    assert (figures.completed, figures.failed, figures.success_rate) == (1, 0, 1.0)
    hours = figures_of_jobs([work.job])[work.job.pk].hours
    assert hours is not None
    assert hours * 3600 == pytest.approx(figures.seconds)


@pytest.mark.django_db
def test_a_run_that_fails_fails_the_job_and_says_why() -> None:
    work = make_work()
    land(work, "failed", exit_code=3, reason="exit code 3")
    job = now_of(work.job)
    assert (job.status, job.reason, job.decision) == (S.FAILED, "exit code 3", Decision.NONE)
    assert work.agent is not None
    assert now_of(work.agent).status == A.IDLE
    assert Todo.objects.get().status == "pending"


@pytest.mark.django_db
@pytest.mark.parametrize(("reason", "outcome"), [("lost", "lost"), ("lost: its node has no such process", "lost")])
def test_a_run_that_is_lost_puts_the_job_back_with_a_note(reason: str, outcome: str) -> None:
    work = make_work()
    land(work, "failed", reason=reason)
    job = now_of(work.job)
    assert (job.status, now_of(work).outcome) == (S.PENDING, outcome)
    assert work.agent is not None
    assert job.comments.get().text == f"Lost by {work.agent.name}: {reason}"


@pytest.mark.django_db
def test_a_run_that_somebody_stops_puts_the_job_back_though_it_exits_with_0() -> None:
    work = make_work()
    runner = work.runner
    assert runner is not None
    move(runner.pk, RunnerStatus.RUNNING, generation=1, actor="system:node")
    stop_runner(runner.pk, actor="user:bob")
    move(
        runner.pk, RunnerStatus.TERMINATED, generation=1, actor="system:node", exit_code=0, reason="stopped by user:bob"
    )
    runner_ended(runner.pk)
    assert (now_of(work.job).status, now_of(work).outcome) == (S.PENDING, "stopped")
    assert "stopped by user:bob" in work.job.comments.get().text


@pytest.mark.django_db
def test_the_news_of_an_end_may_come_twice() -> None:
    work = make_work()
    land(work, exit_code=0, reason="exited")
    before = Entry.objects.count()
    assert work.runner_id is not None
    assert runner_ended(work.runner_id) is False
    assert Entry.objects.count() == before


@pytest.mark.django_db
def test_a_runner_that_will_be_started_again_has_not_ended() -> None:
    work = make_work()
    run_and_end(work, "failed", reason="exit code 1", restart_at=timezone.now())
    assert work.runner_id is not None
    assert runner_ended(work.runner_id) is False
    assert now_of(work.job).status == S.IN_PROGRESS
    # The restart is given up, and no event tells so.
    Runner.objects.update(restart_at=None)
    assert settle_ended() == 1
    assert now_of(work.job).status == S.FAILED


@pytest.mark.django_db
def test_a_refused_launch_leaves_everything_as_it_was() -> None:
    make_node()
    project = make_project(quota=0)
    job, agent = make_job(project), make_agent()
    before = Entry.objects.count()
    with pytest.raises(QuotaExceeded):
        assign_job(job.pk, agent.pk, actor=ACTOR)
    assert (now_of(job).status, now_of(agent).status) == (S.PENDING, A.IDLE)
    assert not Assignment.objects.exists()
    assert Entry.objects.count() == before
    waiting = assign_job(job.pk, agent.pk, actor=ACTOR, on_limit="wait")
    assert waiting.runner is not None
    assert waiting.runner.status == RunnerStatus.QUEUED
    stop_runner(waiting.runner.pk, actor=ACTOR)
    runner_ended(waiting.runner.pk)
    assert (now_of(job).status, now_of(agent).status) == (S.PENDING, A.IDLE)


@pytest.mark.django_db
def test_what_cannot_be_assigned_is_refused() -> None:
    make_node()
    shop, bank = make_project(), make_project()
    job = make_job(shop)
    with pytest.raises(InvalidJob):
        assign_job(job.pk, make_agent(project=bank).pk, actor=ACTOR)
    with pytest.raises(InvalidJob):
        assign_job(make_job().pk, make_agent().pk, actor=ACTOR)
    retired = make_agent()
    retire_agent(retired.pk, actor=ACTOR)
    with pytest.raises(AgentMoveRefused):
        assign_job(job.pk, retired.pk, actor=ACTOR)
    with pytest.raises(JobMoveRefused):
        assign_job(make_job(shop, dependencies=[job.pk]).pk, make_agent().pk, actor=ACTOR)


@pytest.mark.django_db
def test_the_database_holds_one_job_to_an_agent_and_one_agent_to_a_job() -> None:
    work = make_work()
    for same in ({"job": work.job, "agent": make_agent()}, {"job": make_job(), "agent": work.agent}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Assignment.objects.create(actor=ACTOR, **same)
    with pytest.raises(IntegrityError), transaction.atomic():
        Assignment.objects.create(actor=ACTOR, job=make_job())


@pytest.mark.django_db(transaction=True)
def test_of_two_who_assign_the_same_job_one_wins() -> None:
    make_node()
    project = make_project()
    for _ in range(3):
        job, one, two = make_job(project), make_agent(), make_agent()
        results = at_once(
            partial(assign_job, job.pk, one.pk, actor=ACTOR), partial(assign_job, job.pk, two.pk, actor=ACTOR)
        )
        assert sorted(type(result).__name__ for result in results) == ["Assignment", "JobMoveRefused"]
        cancel_job(job.pk, actor=ACTOR)
    assert Runner.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_of_two_jobs_for_the_same_agent_one_wins() -> None:
    make_node()
    project, agent = make_project(), make_agent()
    one, two = make_job(project), make_job(project)
    results = at_once(
        partial(assign_job, one.pk, agent.pk, actor=ACTOR), partial(assign_job, two.pk, agent.pk, actor=ACTOR)
    )
    assert sorted(type(result).__name__ for result in results) == ["AgentMoveRefused", "Assignment"]
    assert sorted(Job.objects.values_list("status", flat=True)) == ["in_progress", "pending"]


@pytest.mark.django_db(transaction=True)
def test_an_end_that_is_told_twice_at_once_lands_once() -> None:
    work = make_work()
    run_and_end(work, exit_code=0, reason="exited")
    assert work.runner_id is not None
    results = at_once(partial(runner_ended, work.runner_id), partial(runner_ended, work.runner_id))
    assert sorted(results) == [False, True]
    assert Entry.objects.filter(type="job.completed").count() == 1


@pytest.mark.django_db
def test_a_paused_agent_pauses_its_runner_and_its_clock_and_goes_on_with_both() -> None:
    work = make_work()
    agent, runner = work.agent, work.runner
    assert agent is not None
    assert runner is not None
    move(runner.pk, RunnerStatus.RUNNING, generation=1, actor="system:node")
    assert pause_agent(agent.pk, actor=ACTOR).status == A.PAUSED
    assert Entry.objects.filter(type="runners.tasks.pause_runner").count() == 1
    assert TimeEntry.objects.get().status == "paused"
    move(runner.pk, RunnerStatus.PAUSED, generation=1, actor="system:node")
    assert resume_agent(agent.pk, actor=ACTOR).status == A.WORKING
    assert (TimeEntry.objects.get().status, len(TimeEntry.objects.get().pauses)) == ("active", 1)


@pytest.mark.django_db
def test_a_runner_that_is_paused_elsewhere_takes_its_agent_along() -> None:
    work = make_work()
    agent, runner = work.agent, work.runner
    assert agent is not None
    assert runner is not None
    move(runner.pk, RunnerStatus.RUNNING, generation=1, actor="system:node")
    pause_runner(runner.pk, actor=ACTOR)
    move(runner.pk, RunnerStatus.PAUSED, generation=1, actor="system:node")
    for _ in range(2):
        runner_steered(runner.pk)
        assert now_of(agent).status == A.PAUSED
    move(runner.pk, RunnerStatus.RUNNING, generation=1, actor="system:node")
    runner_steered(runner.pk)
    assert (now_of(agent).status, TimeEntry.objects.get().status) == (A.WORKING, "active")


@pytest.mark.django_db
@pytest.mark.parametrize("paused", [False, True])
def test_a_killed_agent_is_in_error_until_it_is_revived_and_its_job_goes_back(paused: bool) -> None:
    work = make_work()
    agent, runner = work.agent, work.runner
    assert agent is not None
    assert runner is not None
    move(runner.pk, RunnerStatus.RUNNING, generation=1, actor="system:node")
    if paused:
        pause_agent(agent.pk, actor=ACTOR)
    assert kill_agent(agent.pk, actor=ACTOR).status == A.ERROR
    assert Entry.objects.get(type="runners.tasks.stop_runner").data["args"][-1] == 0
    with pytest.raises(AgentMoveRefused):
        revive_agent(agent.pk, actor=ACTOR)
    move(runner.pk, RunnerStatus.TERMINATED, generation=1, actor="system:node", reason="stopped")
    runner_ended(runner.pk)
    assert (now_of(agent).status, now_of(work.job).status) == (A.ERROR, S.PENDING)
    assert revive_agent(agent.pk, actor=ACTOR).status == A.IDLE
    with pytest.raises(AgentMoveRefused):
        kill_agent(agent.pk, actor=ACTOR)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("verb", "status"), [(complete_job, S.COMPLETED), (release_job, S.PENDING), (cancel_job, S.CANCELLED)]
)
def test_a_job_that_is_settled_by_hand_stops_its_runner_and_frees_its_agent(verb: Any, status: str) -> None:
    work = make_work()
    agent, runner = work.agent, work.runner
    assert agent is not None
    assert runner is not None
    assert verb(work.job.pk, actor=ACTOR, note="That will do.").status == status
    assert (now_of(agent).status, now_of(runner).status) == (A.IDLE, RunnerStatus.STOPPING)
    move(runner.pk, RunnerStatus.TERMINATED, generation=1, actor="system:node", reason="stopped")
    assert runner_ended(runner.pk) is False
    assert now_of(work.job).status == status


@pytest.mark.django_db
def test_a_run_is_held_to_the_limits_of_its_role_but_never_looser_than_the_project_s() -> None:
    make_node()
    project = make_project()
    set_limits(project, {"memory_mb": 512})
    role = make_personality(max_minutes=5, limits={"memory_mb": 2048, "idle_seconds": 60})
    work = assign_job(make_job(project).pk, make_agent(role=role).pk, actor=ACTOR)
    assert work.runner is not None
    assert work.runner.limits == {"memory_mb": 512, "idle_seconds": 60, "wall_seconds": 300}
    assert work.personality_version is not None
    assert work.personality_version.content["limits"] == {"memory_mb": 2048, "idle_seconds": 60}


@pytest.mark.django_db
def test_a_run_that_took_too_long_has_failed_and_is_not_given_out_for_ever() -> None:
    make_node()
    project = make_project()
    role, job = make_personality(max_minutes=5), make_job(project)
    agent = make_agent(project=project, role=role)
    set_dispatch(project, enabled=True, max_failures=2, actor=ACTOR)
    for _ in range(2):
        assert dispatch_all() == 1
        work = Assignment.objects.open().get()
        run_and_end(work, "failed", reason=REASONS["wall_seconds"])
        assert work.runner_id is not None
        assert runner_ended(work.runner_id)
    assert (now_of(job).decision, now_of(agent).status) == ("failures", "idle")
    assert dispatch_all() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("limits", [{"speed": 3}, {"memory_mb": 0}, {"memory_mb": "much"}, [1]])
def test_limits_that_make_no_sense_are_refused(limits: Any) -> None:
    with pytest.raises(InvalidAgent) as refusal:
        make_personality(limits=limits)
    assert refusal.value.facts["field"] == "limits"


@pytest.mark.django_db
def test_the_figures_of_a_thousand_agents_take_as_many_queries_as_those_of_one(django_assert_num_queries: Any) -> None:
    agents = [make_agent().pk] + [make_work().agent_id or 0 for _ in range(4)]
    for count in (1, 5):
        with django_assert_num_queries(4):
            assert len(figures_of_agents(agents[:count])) == count
    assert Agent.objects.count() == 5


@pytest.mark.django_db
def test_a_person_has_many_jobs_at_once_and_a_runner_for_none() -> None:
    ada = make_user("ada")
    for _ in range(2):
        assert assign_person(make_job().pk, ada, actor=ACTOR).runner is None
    assert not Runner.objects.exists()
