"""What waits for what."""

from functools import partial

import pytest
from django.db import transaction

from agents.exceptions import DependencyCycle, JobMoveRefused, MissingDependencies
from agents.models import Dependency, Job
from agents.services import (
    add_dependencies,
    assign_person,
    cancel_job,
    complete_job,
    create_job,
    drop_dependencies,
    fail_job,
    retry_job,
)
from agents.states import Decision, JobStatus
from outbox.models import Entry
from tests.agents.factories import ACTOR, make_job, now_of
from tests.agents.racing import at_once
from tests.callers import make_user

S = JobStatus


def begin(*jobs: Job) -> None:
    ada = make_user(f"ada-{jobs[0].pk}")
    for job in jobs:
        assign_person(job.pk, ada, actor=ACTOR)


@pytest.mark.django_db
def test_a_job_waits_until_the_last_of_what_it_needs_is_completed() -> None:
    one, two = make_job(), make_job()
    waiting = make_job(dependencies=[one.pk, two.pk])
    assert (waiting.status, waiting.reason) == (S.BLOCKED, f"waits for {one.pk}, {two.pk}")
    begin(one, two)
    complete_job(one.pk, actor=ACTOR)
    assert now_of(waiting).status == S.BLOCKED
    with pytest.raises(JobMoveRefused):
        assign_person(waiting.pk, make_user("bob"), actor=ACTOR)
    complete_job(two.pk, actor=ACTOR)
    assert now_of(waiting).status == S.PENDING


@pytest.mark.django_db
def test_it_comes_free_in_the_very_transaction_of_the_completion() -> None:
    one = make_job()
    waiting = make_job(dependencies=[one.pk])
    begin(one)
    with transaction.atomic():
        complete_job(one.pk, actor=ACTOR)
        assert now_of(waiting).status == S.PENDING
        transaction.set_rollback(True)
    assert (now_of(one).status, now_of(waiting).status) == (S.IN_PROGRESS, S.BLOCKED)


@pytest.mark.django_db
def test_a_cycle_is_refused_and_named() -> None:
    one = make_job()
    two = make_job(dependencies=[one.pk])
    three = make_job(dependencies=[two.pk])
    before = Entry.objects.count()
    with pytest.raises(DependencyCycle) as refusal:
        add_dependencies(one.pk, [three.pk], actor=ACTOR)
    assert refusal.value.facts["cycle"] == [one.pk, three.pk, two.pk, one.pk]
    with pytest.raises(DependencyCycle) as refusal:
        add_dependencies(one.pk, [one.pk], actor=ACTOR)
    assert refusal.value.facts["cycle"] == [one.pk, one.pk]
    assert (Dependency.objects.count(), Entry.objects.count()) == (2, before)


@pytest.mark.django_db
def test_missing_jobs_are_named() -> None:
    job = make_job()
    with pytest.raises(MissingDependencies) as refusal:
        add_dependencies(job.pk, ["job-1999-01-01-002", job.pk, "job-1999-01-01-001"], actor=ACTOR)
    assert refusal.value.facts["missing"] == ["job-1999-01-01-001", "job-1999-01-01-002"]


@pytest.mark.django_db
@pytest.mark.parametrize("ending", [cancel_job, fail_job])
def test_what_waits_for_a_dead_end_asks_and_is_helped_by_dropping_it(ending: object) -> None:
    one = make_job()
    waiting = make_job(dependencies=[one.pk])
    begin(one)
    ending(one.pk, actor=ACTOR)  # type: ignore[operator]
    assert (now_of(waiting).status, now_of(waiting).decision) == (S.BLOCKED, Decision.DEPENDENCY)
    freed = drop_dependencies(waiting.pk, [one.pk], actor=ACTOR)
    assert (freed.status, freed.decision) == (S.PENDING, Decision.NONE)


@pytest.mark.django_db
def test_cancelling_what_asked_hands_the_question_on() -> None:
    one = make_job()
    two = make_job(dependencies=[one.pk])
    three = make_job(dependencies=[two.pk])
    cancel_job(one.pk, actor=ACTOR)
    assert (now_of(two).decision, now_of(three).decision) == (Decision.DEPENDENCY, Decision.NONE)
    cancel_job(two.pk, actor=ACTOR)
    assert (now_of(two).decision, now_of(three).decision) == (Decision.NONE, Decision.DEPENDENCY)


@pytest.mark.django_db
def test_a_failed_job_that_is_tried_again_takes_the_question_back() -> None:
    one = make_job()
    waiting = make_job(dependencies=[one.pk])
    begin(one)
    fail_job(one.pk, actor=ACTOR)
    assert now_of(waiting).decision == Decision.DEPENDENCY
    retry_job(one.pk, actor=ACTOR)
    assert (now_of(waiting).status, now_of(waiting).decision) == (S.BLOCKED, Decision.NONE)


@pytest.mark.django_db
def test_a_failed_job_that_was_given_something_to_wait_for_is_blocked_when_tried_again() -> None:
    one, two = make_job(), make_job()
    begin(one)
    fail_job(one.pk, actor=ACTOR)
    add_dependencies(one.pk, [two.pk], actor=ACTOR)
    assert retry_job(one.pk, actor=ACTOR).status == S.BLOCKED


@pytest.mark.django_db
def test_a_job_that_is_worked_on_cannot_be_made_to_wait() -> None:
    one, two = make_job(), make_job()
    begin(one)
    with pytest.raises(JobMoveRefused):
        add_dependencies(one.pk, [two.pk], actor=ACTOR)


@pytest.mark.django_db
def test_waiting_for_what_is_completed_blocks_nothing() -> None:
    one = make_job()
    begin(one)
    complete_job(one.pk, actor=ACTOR)
    assert make_job(dependencies=[one.pk]).status == S.PENDING


@pytest.mark.django_db(transaction=True)
def test_of_two_edges_that_would_close_a_circle_together_one_is_refused() -> None:
    for _ in range(5):
        one, two = make_job().pk, make_job().pk
        results = at_once(
            partial(add_dependencies, one, [two], actor=ACTOR),
            partial(add_dependencies, two, [one], actor=ACTOR),
        )
        assert sorted(type(result).__name__ for result in results) == ["DependencyCycle", "Job"]


@pytest.mark.django_db(transaction=True)
def test_a_dependency_added_while_it_completes_leaves_nobody_blocked() -> None:
    for number in range(5):
        one, two = make_job(), make_job()
        assign_person(one.pk, make_user(f"ada{number}"), actor=ACTOR)
        at_once(
            partial(complete_job, one.pk, actor=ACTOR),
            partial(add_dependencies, two.pk, [one.pk], actor=ACTOR),
        )
        assert (now_of(one).status, now_of(two).status) == (S.COMPLETED, S.PENDING)


@pytest.mark.django_db
def test_a_graph_of_diamonds_is_checked_by_its_edges_and_not_by_its_paths() -> None:
    """Thirty diamonds in a row have a thousand million paths."""
    last = make_job().pk
    first = last
    for _ in range(30):
        left, right = (create_job(title="x", actor=ACTOR, dependencies=[last]).pk for _ in range(2))
        last = create_job(title="x", actor=ACTOR, dependencies=[left, right]).pk
    with pytest.raises(DependencyCycle) as refusal:
        add_dependencies(first, [last], actor=ACTOR)
    assert len(refusal.value.facts["cycle"]) == 62
