"""The buttons of a job's page."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from agents.exceptions import AgentError, InvalidJob
from agents.models import Agent, Job
from agents.services import (
    add_dependencies,
    assign_job,
    assign_person,
    cancel_job,
    comment_on,
    complete_job,
    drop_dependencies,
    fail_job,
    mark_deliverable,
    release_job,
    retry_job,
)
from agents.services.jobs import person_named
from dashboard.page import live_page, need, tell_refusal
from dashboard.workforce_forms import words
from runners.actors import actor_of
from runners.exceptions import RunnerError
from runners.states import ApprovalMode, OnLimit

MAX_NOTE = 300
#: Verbs that take a note.
NOTED: dict[str, Callable[..., Job]] = {
    "complete": complete_job,
    "fail": fail_job,
    "release": release_job,
    "cancel": cancel_job,
}


@require_POST
@live_page
def act_on_job(request: HttpRequest, job_id: str, verb: str) -> HttpResponse:
    """Do what a button of the page says, and go back to it."""
    if verb not in ACTS:
        raise Http404
    permission, act = ACTS[verb]
    need(request, permission)
    job = get_object_or_404(Job, pk=job_id)
    try:
        said = act(request, job)
    except (AgentError, RunnerError) as error:
        tell_refusal(request, error)
    else:
        messages.success(request, said)
    return redirect(reverse("dashboard:job", args=[job_id]))


def _noted(verb: str) -> Callable[[HttpRequest, Job], str]:
    def act(request: HttpRequest, job: Job) -> str:
        note = request.POST.get("note", "").strip()[:MAX_NOTE]
        return _now(NOTED[verb](job.pk, actor=actor_of(request), note=note))

    return act


def _retry(request: HttpRequest, job: Job) -> str:
    return _now(retry_job(job.pk, actor=actor_of(request)))


def _assign(request: HttpRequest, job: Job) -> str:
    person, actor = request.POST.get("person", ""), actor_of(request)
    if person:
        assign_person(job.pk, person_named(person), actor=actor)
        return f"{job.pk} is {person}'s now."
    name = request.POST.get("agent", "")
    agent = Agent.objects.filter(name=name).first()
    if agent is None:
        raise InvalidJob(f"There is no agent {name!r}." if name else "Choose an agent or a person.", field="agent")
    limit = OnLimit.WAIT if request.POST.get("wait") else OnLimit.REFUSE
    # Empty: as its role says. What is no mode, nobody chose.
    approvals = request.POST.get("approvals", "")
    if approvals and approvals not in ApprovalMode.values:
        raise InvalidJob(f"What it may not do by itself is one of {', '.join(ApprovalMode.values)}.", field="approvals")
    assign_job(job.pk, agent.pk, actor=actor, user=request.user, on_limit=limit, approvals=approvals)
    return f"{agent.name} works on {job.pk}."


def _comment(request: HttpRequest, job: Job) -> str:
    comment_on(job.pk, request.POST.get("text", "")[:20_000], actor=actor_of(request))
    return "Your comment is there."


def _mark(request: HttpRequest, job: Job) -> str:
    number = request.POST.get("deliverable", "")
    done = request.POST.get("done") == "yes"
    marked = mark_deliverable(job.pk, int(number) if number.isdecimal() else 0, done=done, actor=actor_of(request))
    return f"Marked as {'there' if done else 'not there'}: {marked.text}"


def _wait_for(request: HttpRequest, job: Job) -> str:
    return _now(add_dependencies(job.pk, _named(request), actor=actor_of(request)))


def _drop(request: HttpRequest, job: Job) -> str:
    return _now(drop_dependencies(job.pk, _named(request), actor=actor_of(request)))


def _named(request: HttpRequest) -> list[str]:
    found = words(" ".join(request.POST.getlist("dependencies")))
    if not found:
        raise InvalidJob("Name a job to wait for.", field="dependencies")
    return found


def _now(job: Job) -> str:
    return f"{job.pk} is {job.get_status_display().lower()}."


CHANGE = "agents.change_job"
ACTS: dict[str, tuple[str, Callable[[HttpRequest, Any], str]]] = {
    **{verb: (CHANGE, _noted(verb)) for verb in NOTED},
    "retry": (CHANGE, _retry),
    "assign": ("agents.add_assignment", _assign),
    "comment": (CHANGE, _comment),
    "mark": (CHANGE, _mark),
    "wait-for": (CHANGE, _wait_for),
    "drop": (CHANGE, _drop),
}
