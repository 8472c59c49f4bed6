"""Whatever is called in whatever order: no illegal state, no lost job, no worker with two jobs."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from agents import services
from agents.exceptions import AgentError
from agents.models import Agent, Assignment, Dependency, Job, TimeEntry, Todo
from agents.services.dependencies import find_cycle
from agents.services.dispatch import dispatch_all
from agents.services.runs import has_ended, runner_ended, runner_steered, settle_ended
from agents.states import JOB_DEAD_ENDS, JOB_MOVES, MOVES, AgentStatus, Decision, JobStatus
from outbox.models import Entry
from runners.exceptions import RunnerError
from runners.models import Runner
from runners.services import restart_runner, stop_runner
from runners.states import RunnerStatus
from runners.transitions import move
from tests.agents.factories import ACTOR, make_agent, make_job, make_personality
from tests.callers import make_user
from tests.runners.factories import make_node, make_project

A, S, R = AgentStatus, JobStatus, RunnerStatus
#: Chooses one of what there is: its value modulo their number.
some = st.integers(min_value=0, max_value=1000)
JOB_VERBS = ("complete_job", "fail_job", "release_job", "cancel_job", "retry_job", "delete_job")
AGENT_VERBS = ("pause_agent", "resume_agent", "kill_agent", "revive_agent", "retire_agent", "delete_agent")
#: How a process may end: status, exit code, reason, whether it is started again.
ENDINGS = (
    (R.TERMINATED, 0, "exited", False),
    (R.FAILED, 1, "exit code 1", False),
    (R.FAILED, None, "lost", False),
    (R.FAILED, 1, "exit code 1", True),
)


class Board(RuleBasedStateMachine):
    """Agents, jobs and runners under random calls. The nodes are played by the rules; refusals are expected."""

    def __init__(self) -> None:
        super().__init__()
        self.example = transaction.atomic()
        self.example.__enter__()
        self.created: set[str] = set()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.example.__exit__(None, None, None)

    @initialize(dispatch=st.booleans())
    def begin(self, dispatch: bool) -> None:
        make_node()
        self.project = make_project(quota=3)
        self.role = make_personality()
        self.person = make_user()
        services.set_dispatch(self.project, enabled=dispatch, max_failures=2, actor=ACTOR)

    def attempt(self, call: Callable[[], Any]) -> Any:
        """Make a call that may be refused; a refusal leaves nothing behind."""
        before = Entry.objects.count()
        try:
            return call()
        except (AgentError, RunnerError):
            assert Entry.objects.count() == before
            return None

    def job(self, index: int) -> str:
        ids = sorted(Job.objects.values_list("pk", flat=True))
        return ids[index % len(ids)] if ids else "job-none"

    def agent(self, index: int) -> int:
        ids = sorted(Agent.objects.values_list("pk", flat=True))
        return ids[index % len(ids)] if ids else 0

    def runner(self, index: int, *statuses: RunnerStatus) -> Runner | None:
        found = list(Runner.objects.filter(status__in=statuses).order_by("created_at"))
        return found[index % len(found)] if found else None

    # --- People ---------------------------------------------------------------------------------------------------

    @rule(one=some, two=some, count=st.integers(0, 2))
    def add_job(self, one: int, two: int, count: int) -> None:
        needs = list({self.job(one), self.job(two)})[:count] if self.created else []
        job = self.attempt(lambda: make_job(self.project, dependencies=needs))
        if job:
            self.created.add(job.pk)

    @rule()
    def add_agent(self) -> None:
        make_agent(role=self.role)

    @rule(job=some, agent=some, wait=st.booleans())
    def assign(self, job: int, agent: int, wait: bool) -> None:
        limit = "wait" if wait else "refuse"
        self.attempt(lambda: services.assign_job(self.job(job), self.agent(agent), actor=ACTOR, on_limit=limit))

    @rule(job=some)
    def assign_to_a_person(self, job: int) -> None:
        self.attempt(lambda: services.assign_person(self.job(job), self.person, actor=ACTOR))

    @rule(job=some, verb=st.sampled_from(JOB_VERBS))
    def settle(self, job: int, verb: str) -> None:
        job_id = self.job(job)
        self.attempt(lambda: getattr(services, verb)(job_id, actor=ACTOR))
        if verb == "delete_job" and not Job.objects.filter(pk=job_id).exists():
            self.created.discard(job_id)

    @rule(job=some, to=st.sampled_from(JobStatus))
    def set_status(self, job: int, to: JobStatus) -> None:
        self.attempt(lambda: services.set_job_status(self.job(job), to, actor=ACTOR))

    @rule(job=some, needs=some, verb=st.sampled_from(("add_dependencies", "drop_dependencies")))
    def connect(self, job: int, needs: int, verb: str) -> None:
        self.attempt(lambda: getattr(services, verb)(self.job(job), [self.job(needs)], actor=ACTOR))

    @rule(agent=some, verb=st.sampled_from(AGENT_VERBS))
    def steer(self, agent: int, verb: str) -> None:
        self.attempt(lambda: getattr(services, verb)(self.agent(agent), actor=ACTOR))

    @rule(runner=some)
    def stop(self, runner: int) -> None:
        if found := self.runner(runner, R.STARTING, R.RUNNING, R.PAUSED, R.QUEUED):
            self.attempt(lambda: stop_runner(found.pk, actor=ACTOR))

    # --- Nodes, dispatcher, stream ------------------------------------------------------------------------------

    @rule(runner=some, to=st.sampled_from((R.RUNNING, R.PAUSED, R.UNKNOWN)))
    def report(self, runner: int, to: RunnerStatus) -> None:
        if found := self.runner(runner, R.STARTING, R.RUNNING, R.PAUSED, R.UNKNOWN):
            self.attempt(lambda: move(found.pk, to, generation=found.generation, actor="system:node"))
            runner_steered(found.pk)

    @rule(runner=some, ending=st.sampled_from(ENDINGS))
    def end(self, runner: int, ending: tuple[RunnerStatus, int | None, str, bool]) -> None:
        to, code, reason, again = ending
        found = self.runner(runner, R.STARTING, R.RUNNING, R.PAUSED, R.STOPPING, R.UNKNOWN)
        if found is None:
            return
        again = again and found.status != R.STOPPING
        facts: dict[str, Any] = {"exit_code": code, "reason": reason, "restart_at": timezone.now() if again else None}
        self.attempt(lambda: move(found.pk, to, generation=found.generation, actor="system:node", **facts))

    @rule()
    def restart(self) -> None:
        found = Runner.objects.filter(restart_at__isnull=False).first()
        if found:
            self.attempt(lambda: restart_runner(found.pk, actor="system:restart"))

    @rule(runner=some, again=st.booleans())
    def news(self, runner: int, again: bool) -> None:
        if found := self.runner(runner, R.TERMINATED, R.FAILED):
            for _ in range(2 if again else 1):
                runner_ended(found.pk)

    @rule()
    def give_out(self) -> None:
        dispatch_all()

    @rule()
    def look_after(self) -> None:
        settle_ended()
        ended = [each for each in Assignment.objects.open().select_related("runner") if each.runner]
        assert not any(has_ended(each.runner) for each in ended if each.runner)

    # --- What must hold -------------------------------------------------------------------------------------------

    @invariant()
    def no_job_is_lost(self) -> None:
        assert set(Job.objects.values_list("pk", flat=True)) == self.created

    @invariant()
    def a_job_is_in_progress_if_and_only_if_somebody_is_at_it(self) -> None:
        at_work = sorted(Assignment.objects.open().values_list("job_id", flat=True))
        assert at_work == sorted(Job.objects.filter(status=S.IN_PROGRESS).values_list("pk", flat=True))

    @invariant()
    def an_agent_at_work_has_a_job_a_runner_a_clock_and_a_todo(self) -> None:
        at_work = list(Assignment.objects.open().filter(agent__isnull=False))
        agents = [each.agent_id or 0 for each in at_work]
        assert all(each.runner_id for each in at_work)
        assert set(Agent.objects.filter(status=A.WORKING).values_list("pk", flat=True)) <= set(agents)
        statuses = set(Agent.objects.filter(pk__in=agents).values_list("status", flat=True))
        assert statuses <= {A.WORKING, A.PAUSED, A.ERROR}
        assert sorted(TimeEntry.objects.open().values_list("agent_id", "job_id")) == sorted(
            (each.agent_id, each.job_id) for each in at_work
        )
        doing = Todo.objects.filter(status="in_progress").values_list("agent_id", "job_id")
        assert sorted(doing) == sorted((each.agent_id, each.job_id) for each in at_work)

    @invariant()
    def what_waits_waits_for_a_reason(self) -> None:
        for job in Job.objects.filter(status__in=(S.PENDING, S.BLOCKED)).prefetch_related("dependencies__needs"):
            statuses = [edge.needs.status for edge in job.dependencies.all()]
            blocked = any(status != S.COMPLETED for status in statuses)
            assert job.status == (S.BLOCKED if blocked else S.PENDING)
            dead = any(status in JOB_DEAD_ENDS for status in statuses)
            assert (job.decision == Decision.DEPENDENCY) == dead

    @invariant()
    def jobs_wait_in_no_circle(self) -> None:
        edges = list(Dependency.objects.values_list("job_id", "needs_id"))
        assert find_cycle(edges, starts=self.created) is None

    @invariant()
    def every_history_is_one_of_legal_moves_and_ends_where_the_record_stands(self) -> None:
        for job in Job.objects.prefetch_related("moves"):
            _expect_history(list(job.moves.all()), JOB_MOVES, job.status)
        for agent in Agent.objects.prefetch_related("moves"):
            _expect_history(list(agent.moves.all()), MOVES, agent.status)


def _expect_history(moves: list[Any], legal: Any, status: str) -> None:
    assert moves[0].from_status == ""
    for before, after in pairwise(moves):
        assert after.from_status == before.to_status
        assert after.to_status in legal[before.to_status]
    assert moves[-1].to_status == status


def play(*, boards: int, calls: int) -> None:
    chosen = settings(
        max_examples=boards,
        stateful_step_count=calls,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Board, settings=chosen)


@pytest.mark.django_db
def test_no_sequence_of_calls_reaches_an_illegal_state_or_loses_a_job() -> None:
    play(boards=6, calls=30)


@pytest.mark.soak
@pytest.mark.django_db
def test_no_long_sequence_does_either() -> None:
    play(boards=150, calls=80)
