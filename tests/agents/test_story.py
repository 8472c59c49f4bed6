"""The board works itself off: three agents, ten jobs that wait for each other, every process real."""

from pathlib import Path

import psutil

from agents.models import Agent, Assignment, Job, Personality, TimeEntry, Todo
from agents.services import create_job, set_dispatch, spawn_agents
from agents.states import AgentStatus, JobStatus
from runners.models import Project, Runner
from tests.agents.factories import ACTOR, make_personality
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

#: What each of the ten waits for: two chains that meet, and some on their own.
NEEDS: list[list[int]] = [[], [0], [0], [1, 2], [], [4], [3, 5], [6], [], [7, 8]]
#: Fails as often as the file of its job says; the job "held" waits for a file before it ends.
SCRIPT = """
left=$(cat "fails-$STRATAVORE_JOB" 2>/dev/null || echo 0)
if [ "$left" -gt 0 ]; then echo $((left - 1)) > "fails-$STRATAVORE_JOB"; exit 3; fi
if [ -e "held-$STRATAVORE_JOB" ]; then while [ ! -e go ]; do sleep 0.1; done; fi
"""
STORY_SECONDS = 240.0


def make_board(project: Project) -> list[Job]:
    jobs: list[Job] = []
    for number, needs in enumerate(NEEDS):
        waits_for = [jobs[index].pk for index in needs]
        jobs.append(create_job(title=f"Step {number}", project=project.name, dependencies=waits_for, actor=ACTOR))
    return jobs


def wait_until_done(stack: Stack, jobs: list[Job]) -> None:
    def done() -> bool:
        return set(Job.objects.values_list("status", flat=True)) == {JobStatus.COMPLETED}

    try:
        wait_until(done, "all jobs are completed", STORY_SECONDS)
    except AssertionError as failure:
        states = [f"{job.pk} {job.status} {job.decision} {job.reason}" for job in Job.objects.order_by("pk")]
        raise AssertionError("\n".join([str(failure), *states, stack.log("worker")])) from None
    wait_until(lambda: not Agent.objects.exclude(status=AgentStatus.IDLE).exists(), "all agents are idle")


def expect_order(jobs: list[Job]) -> None:
    """Each began after the last of what it waits for had ended."""
    for number, needs in enumerate(NEEDS):
        first = Assignment.objects.filter(job=jobs[number]).earliest("started_at")
        for index in needs:
            ended = Assignment.objects.get(job=jobs[index], outcome="completed").ended_at
            assert ended is not None
            assert ended <= first.started_at, f"step {number} began before step {index} ended"


def expect_sound(agents: list[Agent]) -> None:
    """No run is left, none was doubled, and every agent's hours are its runs'."""
    assert not Assignment.objects.open().exists()
    assert not Runner.objects.open().exists()
    assert Assignment.objects.count() == Runner.objects.count() == TimeEntry.objects.count()
    assert not TimeEntry.objects.open().exists()
    assert not Todo.objects.exclude(status="completed").exists()
    worked = set(Assignment.objects.values_list("agent_id", flat=True))
    assert worked == {agent.pk for agent in agents}


def begin(role: Personality, project: Project) -> list[Agent]:
    agents = spawn_agents(personality=role.name, count=3, project=project.name, actor=ACTOR)
    set_dispatch(project, enabled=True, max_failures=3, actor=ACTOR)
    return agents


def test_ten_jobs_are_completed_in_order_by_three_agents_with_no_hand_touching(stack: Stack) -> None:
    project = make_project()
    role = make_personality(default_backend="demo", argv=[], flags=["--seconds=0.4", "--steps=2"])
    jobs = make_board(project)
    agents = begin(role, project)
    wait_until_done(stack, jobs)
    expect_order(jobs)
    expect_sound(agents)
    assert Assignment.objects.count() == 10
    assert Runner.objects.filter(prompt__contains="# Step 9").count() == 1


def test_a_lost_runner_and_a_job_that_fails_twice_hold_nothing_up(stack: Stack) -> None:
    project = make_project()
    role = make_personality(argv=["bash", "-c", SCRIPT])
    jobs = make_board(project)
    workspace = Path(project.path)
    (workspace / f"fails-{jobs[4].pk}").write_text("2")
    (workspace / f"held-{jobs[0].pk}").touch()
    agents = begin(role, project)

    def held() -> Runner | None:
        return Runner.objects.filter(assignment__job=jobs[0], status="running", pid__isnull=False).first()

    runner = wait_until(held, "the first job is at work")
    shim = psutil.Process(runner.pid).parent()
    assert shim is not None
    shim.kill()
    stack.wait_for(runner, "failed")
    (workspace / "go").touch()
    wait_until_done(stack, jobs)
    expect_order(jobs)
    expect_sound(agents)
    outcomes = {
        index: list(jobs[index].assignments.order_by("pk").values_list("outcome", flat=True)) for index in (0, 4)
    }
    assert outcomes == {0: ["lost", "completed"], 4: ["failed", "failed", "completed"]}
    assert jobs[0].comments.get().text.startswith("Lost by ")
