"""Dispatch: jobs are given out by themselves, once each, fairly, and not for ever."""

from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from agents.exceptions import InvalidAgent
from agents.models import Assignment, DispatchSettings, Job
from agents.services import change_job, kill_agent, pause_agent, retry_job, set_dispatch
from agents.services.dispatch import dispatch_all
from agents.services.runs import runner_ended
from agents.services.suggest import suggest_jobs
from agents.services.working_hours import within_hours
from agents.states import Decision, JobStatus
from outbox.models import Entry
from runners.models import Project, Runner
from tests.agents.factories import ACTOR, make_agent, make_job, make_personality, now_of, run_and_end
from tests.agents.racing import at_once
from tests.callers import make_user
from tests.runners.factories import make_node, make_project

S = JobStatus


def switched_on(**fields: Any) -> Project:
    """Make a project whose jobs are given out."""
    project = make_project(quota=fields.pop("quota", 20))
    set_dispatch(project, actor=ACTOR, enabled=True, **fields)
    return project


def given() -> set[str]:
    return set(Assignment.objects.open().values_list("job_id", flat=True))


def end_all(status: str = "terminated", **changes: Any) -> None:
    """Let every run end, and the news arrive."""
    for assignment in Assignment.objects.open().select_related("runner"):
        run_and_end(assignment, status, **changes)
        assert assignment.runner_id
        runner_ended(assignment.runner_id)


@pytest.mark.django_db
def test_an_idle_agent_gets_the_most_urgent_job_and_nobody_gets_any_where_it_is_off() -> None:
    make_node()
    project, off = switched_on(), make_project()
    make_job(project)
    urgent = make_job(project, priority="high")
    make_job(off, priority="critical")
    make_agent()
    assert dispatch_all() == 1
    assert given() == {urgent.pk}
    assert DispatchSettings.objects.get().waits_for == "an idle agent"


@pytest.mark.django_db
def test_people_s_work_is_left_to_people_and_an_agent_s_to_that_agent() -> None:
    make_node()
    project, meant = switched_on(), make_agent()
    make_job(project, wanted_person=make_user("ada").username, priority="critical")
    his = make_job(project, wanted_agent=meant.name, priority="high")
    anyone = make_job(project)
    other = make_agent()
    assert dispatch_all() == 2
    assert {each.job_id: each.agent_id for each in Assignment.objects.all()} == {his.pk: meant.pk, anyone.pk: other.pk}


@pytest.mark.django_db
def test_the_agent_whose_specialty_it_is_gets_the_job() -> None:
    make_node()
    project = switched_on()
    make_agent(role=make_personality(specialties=["documentation"]))
    expert = make_agent(role=make_personality(specialties=["databases", "security"]))
    job = make_job(project, labels=["database"], title="Slow query")
    assert dispatch_all() == 1
    assert Assignment.objects.get().agent == expert
    cadet = make_agent()
    assert suggest_jobs(cadet) == []
    Job.objects.filter(pk=job.pk).update(status=S.PENDING)
    assert suggest_jobs(expert)[0].matches == ("database",)


@pytest.mark.django_db
def test_a_suggestion_puts_priority_before_specialty_and_specialty_before_age() -> None:
    project = make_project()
    agent = make_agent(role=make_personality(specialties=["security"]))
    old, fits = make_job(project), make_job(project, title="Security review")
    urgent = make_job(project, priority="critical")
    assert [each.job.pk for each in suggest_jobs(agent)] == [urgent.pk, fits.pk, old.pk]
    Job.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=3))
    assert [each.job.pk for each in suggest_jobs(agent)] == [urgent.pk, old.pk, fits.pk]


@pytest.mark.django_db
def test_no_more_than_the_project_wants_run_at_once() -> None:
    make_node()
    project = switched_on(max_parallel=2)
    for _ in range(4):
        make_job(project)
        make_agent()
    assert dispatch_all() == 2
    assert DispatchSettings.objects.get().waits_for == "one of 2 jobs at work to end"
    end_all(exit_code=0, reason="exited")
    assert dispatch_all() == 2


@pytest.mark.django_db
def test_a_full_quota_waits_and_says_so_and_holds_up_no_other_project() -> None:
    make_node()
    full, free = switched_on(quota=0), switched_on()
    make_job(full)
    make_agent()
    job = make_job(free)
    assert dispatch_all() == 1
    assert given() == {job.pk}
    assert "quota is full" in DispatchSettings.objects.get(project=full).waits_for


@pytest.mark.django_db
def test_projects_take_turns_however_many_jobs_one_of_them_has() -> None:
    make_node()
    greedy, modest = switched_on(), switched_on()
    for _ in range(6):
        make_job(greedy)
    for _ in range(2):
        make_job(modest)
    for _ in range(4):
        make_agent()
    assert dispatch_all() == 4
    assert Assignment.objects.filter(job__project=modest).count() == 2


@pytest.mark.django_db
def test_a_job_that_fails_is_tried_again_and_then_asks_people() -> None:
    make_node()
    project = switched_on(max_failures=2)
    job = make_job(project)
    waiting = make_job(project, dependencies=[job.pk])
    make_agent()
    assert dispatch_all() == 1
    end_all("failed", reason="exit code 1")
    assert (now_of(job).status, now_of(waiting).decision) == (S.PENDING, Decision.NONE)
    assert dispatch_all() == 1
    end_all("failed", reason="exit code 1")
    assert (now_of(job).status, now_of(job).decision) == (S.FAILED, Decision.FAILURES)
    assert now_of(waiting).decision == Decision.DEPENDENCY
    assert dispatch_all() == 0
    retry_job(job.pk, actor=ACTOR)
    assert now_of(waiting).decision == Decision.NONE
    for _ in range(2):
        assert dispatch_all() == 1
        end_all("failed", reason="exit code 1")
    assert now_of(job).decision == Decision.FAILURES


@pytest.mark.django_db
def test_a_job_whose_runs_are_lost_again_and_again_asks_too() -> None:
    make_node()
    job = make_job(switched_on(max_failures=2))
    make_agent()
    for _ in range(2):
        assert dispatch_all() == 1
        end_all("failed", reason="lost")
    assert (now_of(job).status, now_of(job).decision) == (S.PENDING, Decision.FAILURES)
    assert dispatch_all() == 0
    retry_job(job.pk, actor=ACTOR)
    assert dispatch_all() == 1


@pytest.mark.django_db
def test_agents_that_are_paused_killed_or_bound_elsewhere_get_nothing() -> None:
    make_node()
    project = switched_on()
    pause_agent(make_agent().pk, actor=ACTOR)
    make_agent(project=make_project())
    victim = make_agent()
    make_job(project)
    assert dispatch_all() == 1
    kill_agent(victim.pk, actor=ACTOR)
    make_job(project)
    assert dispatch_all() == 0


@pytest.mark.django_db
def test_an_agent_whose_program_is_not_there_is_passed_over() -> None:
    make_node()
    project = switched_on()
    make_agent(role=make_personality(argv=["/no/such/program"]))
    job = make_job(project)
    assert dispatch_all() == 0
    assert "There is no program" in DispatchSettings.objects.get().waits_for
    able = make_agent()
    assert dispatch_all() == 1
    assert Assignment.objects.get(job=job).agent == able


@pytest.mark.django_db
def test_a_project_s_backend_goes_before_the_role_s() -> None:
    make_node()
    project = switched_on(backend="demo")
    make_job(project)
    make_agent(role=make_personality(model="big"))
    assert dispatch_all() == 1
    assert (Runner.objects.get().backend, Runner.objects.get().model) == ("demo", "")


@pytest.mark.django_db
def test_whatever_may_let_work_start_wakes_the_dispatcher_and_nothing_does_where_nobody_wants_it() -> None:
    make_job(make_project())
    make_agent()
    wakes = Entry.objects.filter(type="agents.tasks.dispatch")
    assert wakes.count() == 0
    project = switched_on()
    assert wakes.count() == 1
    job = make_job(project)
    make_agent()
    assert wakes.count() == 3
    change_job(job.pk, actor=ACTOR, priority="high")
    assert wakes.count() == 4


@pytest.mark.django_db(transaction=True)
def test_two_dispatchers_at_once_double_nothing() -> None:
    make_personality(name="worker")
    make_node()
    projects = [switched_on() for _ in range(2)]
    for number in range(8):
        make_job(projects[number % 2])
        make_agent()
    assert sum(at_once(*[partial(dispatch_all)] * 3)) == 8
    assert Assignment.objects.open().count() == Runner.objects.count() == 8
    assert len(given()) == 8


@pytest.mark.parametrize(
    ("at", "within"),
    [
        ("2026-05-04T07:59", False),  # Monday, Vienna is at UTC+2
        ("2026-05-04T06:00", False),
        ("2026-05-04T08:00", True),
        ("2026-05-04T14:59", True),
        ("2026-05-04T15:00", False),
        ("2026-05-09T10:00", False),  # Saturday
    ],
)
def test_hours_are_those_of_the_project_s_zone(at: str, within: bool) -> None:
    dispatch = DispatchSettings(
        work_days=[0, 1, 2, 3, 4], work_from=time(10), work_until=time(17), time_zone="Europe/Vienna"
    )
    assert within_hours(dispatch, datetime.fromisoformat(at).replace(tzinfo=UTC)) is within


@pytest.mark.parametrize(
    ("at", "within"),
    [
        ("2026-05-08T23:00", True),  # Friday night
        ("2026-05-09T05:59", True),  # still Friday's
        ("2026-05-09T06:00", False),
        ("2026-05-09T23:00", False),  # Saturday night
        ("2026-05-04T05:00", False),  # Monday morning would be Sunday's
    ],
)
def test_hours_over_midnight_belong_to_the_day_they_begin_on(at: str, within: bool) -> None:
    dispatch = DispatchSettings(work_days=[0, 1, 2, 3, 4], work_from=time(22), work_until=time(6), time_zone="UTC")
    assert within_hours(dispatch, datetime.fromisoformat(at).replace(tzinfo=UTC)) is within


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"time_zone": "Mars/Base"}, "time_zone"),
        ({"work_from": time(9)}, "work_until"),
        ({"work_days": [7]}, "work_days"),
        ({"backend": "nothing"}, "backend"),
        ({"max_failures": 0}, "max_failures"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wanted: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidAgent) as refusal:
        set_dispatch(make_project(), actor=ACTOR, **wanted)
    assert refusal.value.facts["field"] == field
    assert not DispatchSettings.objects.exists()
