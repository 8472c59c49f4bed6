"""The job board, a new job, one job."""

import json
from typing import Any

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from agents.exceptions import AgentError, StaleEdit
from agents.models import Agent, Job
from agents.services import create_job, edit_job, set_job_status
from agents.states import JOB_DEAD_ENDS, JobStatus, Priority
from dashboard.changes import FLEET
from dashboard.dependency_graph import graph_of
from dashboard.job_rows import board_columns, in_column_order, job_rows, shown_jobs
from dashboard.page import live_page, need, page_of, query_without, show, tell_refusal
from dashboard.views.operations import batch_verbs
from dashboard.workforce_filters import JobChoices
from dashboard.workforce_forms import EditForm, JobForm
from runners.actors import actor_of
from runners.exceptions import RunnerError
from runners.models import Project
from runners.states import ApprovalMode

#: Agents offered in the list of a job's page; others are assigned through the API or by a wish.
OFFERED = 200


@require_GET
@live_page
def jobs(request: HttpRequest) -> HttpResponse:
    """Show the board, or one of its columns with pages."""
    wanted = JobChoices.from_query(request.GET)
    found = wanted.apply(Job.objects.all())
    context: dict[str, Any] = {
        "wanted": wanted,
        "priorities": Priority.choices,
        "projects": Project.objects.values_list("name", flat=True),
        "query": query_without(request, "page"),
        "query_without_status": query_without(request, "page", "status"),
        "here": request.GET.urlencode(),
        "undecided": Job.objects.undecided().count(),
        "filter_json": json.dumps(wanted.as_filter()),
        "batch_verbs": batch_verbs(request, "job"),
    }
    if wanted.status:
        status = JobStatus(wanted.status)
        page = page_of(request, in_column_order(wanted.apply(shown_jobs()).filter(status=status)))
        rows = job_rows(page.object_list)
        context["page"] = page
        context["columns"] = [
            {"status": status.value, "label": status.label, "count": page.paginator.count, "rows": rows, "more": 0}
        ]
    else:
        context["columns"] = board_columns(found)
    context["batch_count"] = sum(column["count"] for column in context["columns"])
    return show(request, "dashboard/jobs.html", context, topics=(FLEET,))


@require_POST
@live_page
def move_on_board(request: HttpRequest, job_id: str) -> HttpResponse:
    """Put a job into another column, where that is legal, and go back to the board."""
    need(request, "agents.change_job")
    job = get_object_or_404(Job, pk=job_id)
    to = request.POST.get("to", "")
    if to not in JobStatus.values:
        raise Http404
    try:
        job = set_job_status(job.pk, JobStatus(to), actor=actor_of(request))
    except (AgentError, RunnerError) as error:
        tell_refusal(request, error)
    else:
        messages.success(request, f"{job.pk} is {job.get_status_display().lower()}.")
    here = request.POST.get("here", "")
    return redirect(f"{reverse('dashboard:jobs')}{f'?{here}' if here else ''}")


@live_page
def new_job(request: HttpRequest) -> HttpResponse:
    """Put a new job on the board."""
    need(request, "agents.add_job")
    initial = {name: request.GET[name] for name in JobForm.base_fields if name in request.GET}
    form = JobForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            job = create_job(actor=actor_of(request), **_typed(form))
        except AgentError as error:
            form.refuse(error.message, error.facts.get("field"))
        else:
            messages.success(request, f"{job.pk} is on the board: {job.get_status_display().lower()}.")
            return redirect(reverse("dashboard:job", args=[job.pk]))
    return show(request, "dashboard/new_job.html", {"form": form}, status=422 if form.errors else 200)


def _typed(form: JobForm) -> dict[str, Any]:
    names = ("project", "wanted_agent", "wanted_person")
    return {**form.cleaned_data, **{name: form.cleaned_data[name] or None for name in names}}


@live_page
def edit(request: HttpRequest, job_id: str) -> HttpResponse:
    """Edit a job's fields; what others changed meanwhile is kept, or told where it is the same field."""
    need(request, "agents.change_job")
    found = get_object_or_404(Job, pk=job_id)
    form = EditForm(request.POST or None, job=found)
    if request.method == "POST" and form.is_valid():
        wanted = _typed(form)
        try:
            edit_job(found.pk, wanted, seen=wanted.pop("seen"), actor=actor_of(request))
        except StaleEdit as error:
            form.refuse_stale(error)
        except AgentError as error:
            form.refuse(error.message, error.facts.get("field"))
        else:
            messages.success(request, f"{found.pk} is changed.")
            return redirect(reverse("dashboard:job", args=[found.pk]))
    return show(request, "dashboard/edit_job.html", {"form": form, "job": found}, status=422 if form.errors else 200)


@require_GET
@live_page
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    """Show one job: what it is, what it waits for, who worked on it, and what was said."""
    found = get_object_or_404(shown_jobs(), pk=job_id)
    edges = list(found.dependencies.select_related("needs").order_by("needs_id"))
    context = {
        "job": found,
        "row": job_rows([found])[0],
        "deliverables": found.deliverables.all(),
        "comments": found.comments.order_by("pk"),
        "turns": found.assignments.select_related("agent", "person", "runner").order_by("-started_at", "-pk")[:30],
        "moves": found.moves.order_by("-pk")[:50],
        "needs": [edge.needs for edge in edges],
        "dead": [edge.needs for edge in edges if edge.needs.status in JOB_DEAD_ENDS],
        "graph": graph_of(found),
        **_offers(request, found),
    }
    return show(request, "dashboard/job.html", context, topics=(FLEET,))


def _offers(request: HttpRequest, found: Job) -> dict[str, Any]:
    """Return whom the job may be given to."""
    if found.status != JobStatus.PENDING or not request.user.has_perm("agents.add_assignment"):
        return {}
    agents = Agent.objects.available().select_related("personality", "project")
    if found.project_id:
        agents = agents.filter(Q(project=found.project_id) | Q(project__isnull=True))
    people = get_user_model().objects.filter(is_active=True).order_by("username").values_list("username", flat=True)
    return {"agents": list(agents[:OFFERED]), "people": list(people[:OFFERED]), "approvals": ApprovalMode.choices}
