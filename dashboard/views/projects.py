"""Workspaces."""

import json

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from dashboard.budget_rows import budgets_of_project
from dashboard.changes import FLEET
from dashboard.forms import ProjectForm
from dashboard.page import live_page, need, show, tell_refusal
from dashboard.rows import runner_rows, session_row, shown_runners
from runners.actors import actor_of
from runners.exceptions import RunnerError
from runners.models import Project, ResourceQuota
from runners.services import archive_project, create_project
from runners.services.limits import limits_of_project, shown

RUNNERS_SHOWN = 20
SESSIONS_SHOWN = 10


@require_GET
@live_page
def projects(request: HttpRequest) -> HttpResponse:
    """List projects with how much of each quota is used."""
    found = Project.objects.with_runner_counts().select_related("quota").order_by("status", "name")
    context = {"projects": [(project, _quota(project)) for project in found]}
    return show(request, "dashboard/projects.html", context)


@live_page
def new_project(request: HttpRequest) -> HttpResponse:
    """Create a project over a directory."""
    need(request, "runners.add_project")
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            project = create_project(actor=actor_of(request), **form.cleaned_data)
        except RunnerError as error:
            form.refuse(error.message, error.facts.get("field"))
        else:
            messages.success(request, f"{project.name} is ready.")
            return redirect(reverse("dashboard:project", args=[project.name]))
    return show(request, "dashboard/new_project.html", {"form": form}, status=422 if form.errors else 200)


@require_GET
@live_page
def project(request: HttpRequest, name: str) -> HttpResponse:
    """Show one project."""
    found = get_object_or_404(Project.objects.with_runner_counts().select_related("quota"), name=name)
    sessions = found.sessions.order_by("-started_at")[:SESSIONS_SHOWN]
    context = {
        "project": found,
        "quota": _quota(found),
        "budgets": budgets_of_project(found.name),
        "limits": shown(limits_of_project(found)),
        "rows": runner_rows(shown_runners().filter(project=found)[:RUNNERS_SHOWN]),
        "limit": RUNNERS_SHOWN,
        "match_json": json.dumps({"project": found.name}),
        "sessions": [(session, session_row(session)) for session in sessions],
    }
    return show(request, "dashboard/project.html", context, topics=(FLEET,))


@require_POST
@live_page
def archive(request: HttpRequest, name: str) -> HttpResponse:
    """Archive a project."""
    need(request, "runners.change_project")
    found = get_object_or_404(Project, name=name)
    try:
        archive_project(found, actor=actor_of(request))
    except RunnerError as error:
        tell_refusal(request, error)
    else:
        messages.success(request, f"{found.name} is archived.")
    return redirect(reverse("dashboard:project", args=[name]))


def _quota(project: Project) -> dict[str, int]:
    """Return how many runners the project has and may have."""
    quota = getattr(project, "quota", None)
    limit = quota.max_concurrent_runners if quota else ResourceQuota.DEFAULT_MAX_CONCURRENT_RUNNERS
    used = int(getattr(project, "active_runner_count", 0))
    return {"used": used, "limit": limit, "percent": min(round(100 * used / limit), 100) if limit else 100}
