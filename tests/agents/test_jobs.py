"""Jobs: ids, fields, what hangs on them, their moves."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from agents.exceptions import InvalidJob, JobInUse, JobMoveRefused
from agents.figures import figures_of_jobs
from agents.models import Job
from agents.services import (
    assign_person,
    cancel_job,
    change_job,
    comment_on,
    complete_job,
    create_job,
    delete_job,
    fail_job,
    mark_deliverable,
    release_job,
    retry_job,
    set_deliverables,
    set_job_status,
)
from agents.states import JOB_MOVES, JobStatus
from agents.transitions import move_job
from outbox.models import AuditEntry, Entry
from tests.agents.factories import ACTOR, make_agent, make_job, now_of
from tests.callers import make_user
from tests.runners.factories import make_project

S = JobStatus


@pytest.mark.django_db
def test_a_new_job_has_an_id_of_the_day_and_is_told() -> None:
    project = make_project(name="shop")
    one, two = make_job(project, title="First"), make_job(project)
    assert re.fullmatch(r"job-\d{4}-\d\d-\d\d-001", one.pk)
    assert two.pk == one.pk[:-1] + "2"
    entry = Entry.objects.get(aggregate=f"job:{one.pk}")
    assert (entry.type, entry.routing_key) == ("job.pending", "job.pending.shop")
    assert (entry.data["title"], entry.data["from"], entry.data["actor"]) == ("First", "", ACTOR)


@pytest.mark.django_db
def test_an_id_that_an_import_brought_is_passed_over() -> None:
    first = make_job()
    taken = first.pk[:-1] + "2"
    Job.objects.create(id=taken, title="Imported")
    assert make_job().pk == first.pk[:-1] + "3"


@pytest.mark.django_db(transaction=True)
def test_jobs_created_at_once_have_different_ids_without_a_gap() -> None:
    start = threading.Barrier(4)

    def create(_: int) -> list[str]:
        try:
            start.wait(timeout=30)
            return [create_job(title="x", actor=ACTOR).pk for _ in range(10)]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        ids = sorted(pk for made in pool.map(create, range(4)) for pk in made)
    assert [pk[-3:] for pk in ids] == [f"{number:03}" for number in range(1, 41)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "x", "priority": "urgent"}, "priority"),
        ({"title": "x", "project": "nowhere"}, "project"),
        ({"title": "x", "wanted_agent": "nobody"}, "wanted_agent"),
        ({"title": "x", "wanted_person": "nobody"}, "wanted_person"),
        ({"title": "x", "dependencies": ["job-1999-01-01-001"]}, "dependencies"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused_and_leaves_nothing(wanted: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidJob) as refusal:
        create_job(actor=ACTOR, **wanted)
    assert refusal.value.facts["field"] == field
    assert not Job.objects.exists()
    assert not Entry.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("start", JobStatus)
@pytest.mark.parametrize("to", JobStatus)
def test_only_the_moves_of_the_diagram_are_made(start: JobStatus, to: JobStatus) -> None:
    job = make_job()
    ended = job.created_at if start in (S.COMPLETED, S.FAILED, S.CANCELLED) else None
    Job.objects.filter(pk=job.pk).update(status=start, ended_at=ended)
    if to in JOB_MOVES[start]:
        assert move_job(job.pk, to, actor=ACTOR).status == to
    else:
        with pytest.raises(JobMoveRefused):
            move_job(job.pk, to, actor=ACTOR)
        assert now_of(job).status == start


@pytest.mark.django_db
def test_a_person_takes_a_job_and_completes_it_without_a_runner() -> None:
    job, ada = make_job(), make_user("ada")
    assignment = assign_person(job.pk, ada, actor=ACTOR)
    assert now_of(job).status == S.IN_PROGRESS
    done = complete_job(job.pk, actor=ACTOR, note="Shipped.")
    assert (done.status, done.reason) == (S.COMPLETED, "Shipped.")
    assignment = now_of(assignment)
    assert (assignment.outcome, assignment.runner, assignment.worker) == ("completed", None, "ada")
    assert [move.to_status for move in job.moves.all()] == ["pending", "in_progress", "completed"]


@pytest.mark.django_db
def test_what_a_person_gives_up_fails_and_is_tried_again() -> None:
    job, ada = make_job(), make_user("ada")
    assign_person(job.pk, ada, actor=ACTOR)
    assert fail_job(job.pk, actor=ACTOR, note="No idea.").status == S.FAILED
    assert retry_job(job.pk, actor=ACTOR).status == S.PENDING
    assign_person(job.pk, ada, actor=ACTOR)
    assert release_job(job.pk, actor=ACTOR, note="Holidays.").status == S.PENDING
    assert [each.text for each in job.comments.all()] == ["Failed by ada: No idea.", "Put back by ada: Holidays."]
    assert list(job.assignments.order_by("pk").values_list("outcome", flat=True)) == ["failed", "released"]


@pytest.mark.django_db
def test_a_status_is_reached_by_its_verb_and_only_where_a_verb_leads() -> None:
    job = make_job()
    for refused in (S.IN_PROGRESS, S.BLOCKED):
        with pytest.raises(InvalidJob):
            set_job_status(job.pk, refused, actor=ACTOR)
    for refused in (S.COMPLETED, S.FAILED, S.PENDING):
        with pytest.raises(JobMoveRefused):
            set_job_status(job.pk, refused, actor=ACTOR)
    assert set_job_status(job.pk, S.CANCELLED, actor=ACTOR).status == S.CANCELLED


@pytest.mark.django_db
def test_marks_of_deliverables_that_stay_are_kept() -> None:
    job = make_job(deliverables=["code", "tests"])
    code = job.deliverables.get(text="code")
    mark_deliverable(job.pk, code.pk, done=True, actor=ACTOR)
    set_deliverables(job.pk, ["docs", "code"], actor=ACTOR)
    assert [(each.text, bool(each.done_at), each.done_by) for each in job.deliverables.all()] == [
        ("docs", False, ""),
        ("code", True, ACTOR),
    ]
    figures = figures_of_jobs([job])[job.pk]
    assert (figures.deliverables, figures.deliverables_done) == (2, 1)
    with pytest.raises(InvalidJob):
        mark_deliverable(job.pk, 0, done=True, actor=ACTOR)


@pytest.mark.django_db
def test_a_job_is_changed_and_commented_and_the_stream_says_what() -> None:
    job, agent = make_job(), make_agent()
    change_job(job.pk, actor=ACTOR, priority="critical", labels=["db"], wanted_agent=agent.name)
    comment_on(job.pk, "  Mind the locks. ", actor=ACTOR)
    fields = [entry.data["fields"] for entry in Entry.objects.filter(type="job.changed").order_by("id")]
    assert fields == [["labels", "priority", "wanted_agent"], ["comments"]]
    assert (now_of(job).priority, job.comments.get().text) == ("critical", "Mind the locks.")
    with pytest.raises(InvalidJob):
        comment_on(job.pk, " ", actor=ACTOR)
    with pytest.raises(InvalidJob):
        change_job(job.pk, actor=ACTOR, wanted_person=make_user("ada").username)
    with pytest.raises(InvalidJob):
        change_job(job.pk, actor=ACTOR, status="completed")


@pytest.mark.django_db
def test_only_a_job_without_a_history_is_deleted() -> None:
    job = make_job()
    waiting = make_job(dependencies=[job.pk])
    with pytest.raises(JobInUse) as refusal:
        delete_job(job.pk, actor=ACTOR)
    assert refusal.value.facts["dependents"] == [waiting.pk]
    delete_job(waiting.pk, actor=ACTOR)
    assign_person(job.pk, make_user("ada"), actor=ACTOR)
    with pytest.raises(JobInUse):
        delete_job(job.pk, actor=ACTOR)
    assert cancel_job(job.pk, actor=ACTOR).status == S.CANCELLED
    assert set(Job.objects.values_list("pk", flat=True)) == {job.pk}


@pytest.mark.django_db
def test_what_people_do_with_jobs_is_in_the_audit_log_and_what_happens_by_itself_is_not() -> None:
    job = make_job(title="First")
    change_job(job.pk, actor=ACTOR, priority="high")
    assign_person(job.pk, make_user("ada"), actor=ACTOR)
    complete_job(job.pk, actor=ACTOR, note="Shipped.")
    cancel_job(make_job().pk, actor="system:tests")
    acts = list(AuditEntry.objects.filter(target_type="job", target_id=job.pk).order_by("pk"))
    assert [act.action for act in acts] == ["job.create", "job.change", "job.assign", "job.complete"]
    assert (acts[1].before, acts[1].after) == ({"priority": "medium"}, {"priority": "high"})
    assert (acts[3].actor, acts[3].reason, acts[3].after) == (ACTOR, "Shipped.", {"status": "completed"})
    assert not AuditEntry.objects.filter(action="job.cancel").exists()
