"""Operations in chunks leave the same as item by item: rows, history, events, acts, refusals."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Model
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agents import services
from agents.exceptions import JobMoveRefused
from agents.models import (
    Agent,
    AgentMove,
    Assignment,
    Comment,
    Dependency,
    Job,
    JobMove,
    Personality,
    TimeEntry,
    Todo,
)
from agents.states import AgentStatus, JobStatus
from outbox.models import AuditEntry, Entry
from runners.models import Attempt, BudgetPeriod, Message, Observation, Project, Runner, RunnerMove, Session
from runners.services.budgets import create_budget
from runners.services.launch import START_MANY_TASK, START_TASK
from runners.services.operations import all_verbs, begin_operation, register, run_operation, verb_named
from runners.services.operations import run as running
from runners.states import RunnerStatus as R
from runners.transitions import move
from tests.agents.factories import ACTOR, make_agent, make_job, make_personality, make_work
from tests.callers import make_user
from tests.runners.factories import make_node, make_project, make_runner

AGENTS = ("idle", "paused", "starting", "running", "suspended", "killed", "broken", "retired", "experienced")
ROLES = ("database", "poem", "broken", "spent")
JOBS = ("pending", "waiting", "with a person", "with an agent", "failed", "asking", "cancelled", "completed")
RUNNERS = (R.QUEUED, R.STARTING, R.RUNNING, R.PAUSED, R.STOPPING, R.UNKNOWN, R.TERMINATED, R.FAILED)
#: What an agent may be given: by whom it may be done, and where.
READY = ("here", "anywhere", "urgent", "elsewhere", "for one", "for a person")
#: What is the same in both worlds: all but moments (of which only whether there is one: "?") and ids that are new.
ROWS: dict[type[Model], Sequence[str]] = {
    Agent: ("pk", "status", "reason"),
    AgentMove: ("agent_id", "from_status", "to_status", "actor", "reason"),
    Assignment: ("job_id", "agent_id", "runner_id", "personality_version_id", "outcome", "note", "actor"),
    Comment: ("job_id", "actor", "text"),
    Dependency: ("job_id", "needs_id"),
    Job: ("pk", "status", "reason", "decision", "ended_at?"),
    JobMove: ("job_id", "from_status", "to_status", "actor", "reason"),
    TimeEntry: ("agent_id", "job_id", "description", "status", "notes", "ended_at?", "paused_at?"),
    Todo: ("pk", "agent_id", "job_id", "title", "status", "priority"),
    Session: ("pk", "title", "message_count", "began"),
    Message: ("session_id", "runner_id", "role", "text"),
    Runner: (
        "pk", "status", "reason", "generation", "node_id", "prompt", "environment", "on_limit", "resumed", "exit_code",
        "started_at?", "restart_at?", "ended_at?",
    ),
    RunnerMove: ("runner_id", "generation", "from_status", "to_status", "actor", "reason"),
    Attempt: ("runner_id", "generation", "node_id", "status", "reason", "telemetry_offset", "parser_state"),
    Observation: ("runner_id", "generation", "telemetry_offset", "output_bytes", "process_count", "parser_state"),
}  # fmt: skip
UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: One wake-up of these serves all of a chunk.
WAKES = ("agents.tasks.dispatch", "runners.tasks.start_waiting")
WITH_PARAMETERS = {"job.set_status": [{"status": status} for status in JobStatus.values]}


def make_one_agent(kind: str, project: Project, role: Personality) -> None:
    if kind in {"idle", "paused", "broken", "retired"}:
        agent = make_agent(project=project, role=role)
        status = AgentStatus.ERROR if kind == "broken" else AgentStatus(kind)
        Agent.objects.filter(pk=agent.pk).update(status=status)
        return
    work = make_work(project=project)
    runner, agent_id = work.runner, work.agent_id
    assert runner is not None
    assert agent_id is not None
    if kind != "starting":
        move(runner.pk, R.RUNNING, generation=1, actor="system:node")
    match kind:
        case "suspended":
            services.pause_agent(agent_id, actor=ACTOR)
            move(runner.pk, R.PAUSED, generation=1, actor="system:node")
        case "killed":
            services.kill_agent(agent_id, actor=ACTOR)
        case "experienced":
            services.complete_job(work.job_id, actor=ACTOR)


def make_one_job(kind: str, number: int, earlier: list[str], project: Project) -> None:
    needs = [earlier[number % len(earlier)]] if earlier and kind in {"waiting", "failed"} else []
    try:
        job = make_job(project, dependencies=needs)
        earlier.append(job.pk)
        match kind:
            case "with a person" | "failed" | "completed":
                services.assign_person(job.pk, make_user(f"person-{number}-{len(earlier)}"), actor=ACTOR)
            case "with an agent":
                services.assign_job(job.pk, make_agent(project=project).pk, actor=ACTOR)
            case "asking":
                Job.objects.filter(pk=job.pk).update(decision="failures")
            case "cancelled":
                services.cancel_job(job.pk, actor=ACTOR)
        if kind in {"failed", "completed"}:
            services.set_job_status(job.pk, JobStatus(kind), actor=ACTOR)
    except JobMoveRefused:
        pass  # it waits for one that is not done: then it is one more that waits


def make_one_ready_job(kind: str, number: int, agents: Sequence[Agent], project: Project, other: Project) -> None:
    where = {"anywhere": None, "elsewhere": other}.get(kind, project)
    fields: dict[str, Any] = {"labels": [("database", "parser", "poem")[number % 3]]}
    fields["priority"] = "critical" if kind == "urgent" else "medium"
    if kind == "for one" and agents:
        fields["wanted_agent"] = agents[number % len(agents)].name
    if kind == "for a person":
        fields["wanted_person"] = make_user(f"reader-{number}-{Job.objects.count()}").get_username()
    make_job(where, **fields)


def spend(role: Personality) -> None:
    """Have a role used up what it may use today."""
    budget = create_budget(
        {"name": role.name, "scope": "personality", "scope_key": role.name, "period": "daily", "unit": "tokens",
         "limit": Decimal(10), "action": "stop"}, actor=ACTOR,
    )  # fmt: skip
    BudgetPeriod.objects.filter(budget=budget).update(used_tokens=10)


def make_one_runner(status: R, project: Project) -> None:
    ended = timezone.now() if status in {R.TERMINATED, R.FAILED} else None
    fields: dict[str, Any] = {"restart_at": timezone.now()} if status == R.FAILED else {}
    # A program that is not there: its restart is refused when its place is taken.
    fields |= {"argv": ["no-such-program"]} if status == R.FAILED and Runner.objects.count() % 2 else {}
    node = None if status == R.QUEUED else make_node(slots=2)
    runner = make_runner(project=project, node=node, status=status, ended_at=ended, prompt="Go on.", **fields)
    Observation.objects.filter(runner=runner).update(
        telemetry_offset=700, process_count=3, parser_state={"totals": {"tokens": 5}, "line": 3}
    )


def _value(row: Model, name: str) -> Any:
    return getattr(row, name[:-1]) is not None if name.endswith("?") else getattr(row, name)


def _names() -> dict[str, str]:
    """Return what stands for the ids that are made up anew in each world."""
    runners = {str(runner.pk): f"runner {runner.name}" for runner in Runner.objects.all()}
    sessions = {str(each.session_id): f"session of {each.name}" for each in Runner.objects.order_by("name")}
    todos = {str(todo.pk): f"todo of {todo.agent_id} for {todo.job_id}" for todo in Todo.objects.all()}
    return runners | sessions | todos


def traces() -> dict[str, Any]:
    """Return all that a verb leaves behind, of each record and each aggregate in the order in which it happened."""
    names = _names()

    def named(value: Any) -> Any:
        text = UUIDS.sub(lambda found: names.get(found[0], found[0]), json.dumps(value, default=str))
        return json.loads(text)

    found: dict[str, Any] = {
        model.__name__: sorted(
            str(named([_value(row, name) for name in fields])) for row in model._default_manager.all()
        )
        for model, fields in ROWS.items()
    }
    clocks = {entry.pk: f"{entry.worker} on {entry.job_id}" for entry in TimeEntry.objects.all()}
    told: defaultdict[str, list[Any]] = defaultdict(list)
    starts: list[Any] = []
    for entry in Entry.objects.exclude(type__in=WAKES).exclude(aggregate__startswith="operation:").order_by("pk"):
        if entry.type in {START_TASK, START_MANY_TASK}:
            args = entry.data["args"]
            attempts = [attempt for *attempt, _ in args[0]] if entry.type == START_MANY_TASK else [args]
            starts += [(attempt, entry.routing_key) for attempt in attempts]
            continue
        data = {name: value for name, value in entry.data.items() if name != "seconds"}
        subject = entry.subject
        if "time_entry_id" in data:
            subject = data["time_entry_id"] = clocks[data["time_entry_id"]]
        told[entry.aggregate].append((entry.kind, entry.type, subject, entry.routing_key, data))
    acts: defaultdict[str, list[Any]] = defaultdict(list)
    for act in AuditEntry.objects.exclude(target_type="operation").order_by("pk"):
        before = {name: value for name, value in (act.before or {}).items() if name != "restart_at"}
        acts[act.target_id].append((act.action, act.actor, act.target_name, before, act.after, act.reason))
    woken = set(Entry.objects.filter(type__in=WAKES).values_list("type", flat=True))
    return {
        **found,
        "told": named(told),
        "acts": named(acts),
        "starts": sorted(map(str, named(starts))),
        "woken": woken,
        "somebody_waits": Runner.objects.filter(status=R.QUEUED).exists(),
    }


def in_a_world_of_its_own(name: str, parameters: dict[str, Any], *, at_once: bool) -> dict[str, Any]:
    """Do a verb to all there are, and return what came of it; then all is as it was."""
    verb = verb_named(name)
    register(verb if at_once else replace(verb, act_many=None))
    try:
        with transaction.atomic():
            operation = begin_operation(name, {}, parameters, actor=ACTOR)
            run_operation(operation.pk)
            results = dict(operation.items.values_list("target_id", "result"))
            messages = dict(operation.items.values_list("target_id", "message"))
            found = {"results": results, "messages": messages, **traces()}
            transaction.set_rollback(True)
    finally:
        register(verb)
    return found


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks, so that a few items are several of them; and none that fails as a whole without being told."""
    monkeypatch.setattr(running, "CHUNK_ITEMS", 5)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a chunk failed as a whole")

    monkeypatch.setattr(running.log, "exception", fail)


def expect_the_same(name: str) -> None:
    for parameters in WITH_PARAMETERS.get(name, [{}]):
        at_once = in_a_world_of_its_own(name, parameters, at_once=True)
        singly = in_a_world_of_its_own(name, parameters, at_once=False)
        left_out = singly["woken"] - at_once["woken"]
        if not singly["somebody_waits"]:
            # Of several that wait and are stopped singly, the first one's end wakes those that are stopped next.
            left_out -= {"runners.tasks.start_waiting"}
        assert not left_out, (name, parameters)
        assert at_once.pop("woken") <= singly.pop("woken"), (name, parameters)
        for part in at_once:
            assert at_once[part] == singly[part], (name, parameters, part)


def play(examples: int) -> Any:
    return settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def verbs_of(noun: str) -> list[str]:
    return [verb.name for verb in all_verbs(noun) if verb.act_many]


@pytest.mark.django_db
@play(6)
@given(
    kinds=st.lists(st.sampled_from(AGENTS), min_size=1, max_size=12),
    ready=st.lists(st.tuples(st.sampled_from(READY), st.integers(0, 50)), max_size=6),
    dispatch=st.booleans(),
)
def test_agents_in_chunks_and_one_by_one(
    ways: None, kinds: list[str], ready: list[tuple[str, int]], dispatch: bool
) -> None:
    with transaction.atomic():
        make_node(slots=50)
        project, role = make_project(quota=50), make_personality()
        for kind in kinds:
            make_one_agent(kind, project, role)
        for kind, number in ready:
            make_one_ready_job(kind, number, list(Agent.objects.active().order_by("pk")), project, make_project())
        services.set_dispatch(project, enabled=dispatch, max_failures=2, actor=ACTOR)
        for name in verbs_of("agent"):
            expect_the_same(name)
        transaction.set_rollback(True)


@pytest.mark.django_db
@play(12)
@given(
    kinds=st.lists(st.tuples(st.sampled_from(ROLES), st.booleans()), min_size=2, max_size=12),
    ready=st.lists(st.tuples(st.sampled_from(READY), st.integers(0, 50)), min_size=1, max_size=12),
    quota=st.integers(0, 9),
)
def test_jobs_are_given_in_chunks_as_one_by_one(
    ways: None, kinds: list[tuple[str, bool]], ready: list[tuple[str, int]], quota: int
) -> None:
    """Of idle agents: some roles cannot start, or may not spend any more, and what they leave the next are given."""
    with transaction.atomic():
        make_node(slots=4)
        project, other = make_project(quota=quota), make_project(quota=2)
        roles = {
            "database": make_personality(specialties=["databases"]),
            "poem": make_personality(specialties=["poems"], max_minutes=5),
            "broken": make_personality(argv=["no-such-program"]),
            "spent": make_personality(),
        }
        spend(roles["spent"])
        for kind, anywhere in kinds:
            make_agent(project=None if anywhere else project, role=roles[kind])
        for kind, number in ready:
            make_one_ready_job(kind, number, list(Agent.objects.active().order_by("pk")), project, other)
        expect_the_same("agent.assign")
        transaction.set_rollback(True)


@pytest.mark.django_db
@play(6)
@given(plan=st.lists(st.tuples(st.sampled_from(JOBS), st.integers(0, 50)), min_size=1, max_size=12))
def test_jobs_in_chunks_and_one_by_one(ways: None, plan: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        make_node(slots=50)
        project, earlier = make_project(quota=50), list[str]()
        for kind, number in plan:
            make_one_job(kind, number, earlier, project)
        for name in verbs_of("job"):
            expect_the_same(name)
        transaction.set_rollback(True)


@pytest.mark.django_db
@play(8)
@given(statuses=st.lists(st.sampled_from(RUNNERS), min_size=1, max_size=12))
def test_runners_in_chunks_and_one_by_one(ways: None, statuses: list[R]) -> None:
    with transaction.atomic():
        project = make_project(quota=50)
        for status in statuses:
            make_one_runner(status, project)
        for name in verbs_of("runner"):
            expect_the_same(name)
        transaction.set_rollback(True)


def test_every_verb_knows_chunks() -> None:
    assert not {verb.name for verb in all_verbs() if not verb.act_many}
