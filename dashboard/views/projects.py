"""Workspaces."""

import json

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from dashboard import figures
from dashboard.budget_rows import budgets_of_project
from dashboard.changes import FLEET
from dashboard.page import live_page, need, show, tell_refusal
from dashboard.project_forms import ProjectForm, ProjectSettingsForm
from dashboard.rows import runner_rows, session_row, shown_runners
from runners.actors import actor_of
from runners.exceptions import RunnerError
from runners.models import ApprovalTerms, Project, ResourceQuota
from runners.services import archive_project, create_project
from runners.services.limits import limits_of_project, shown
from runners.services.projects import change_project

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
    found = get_object_or_404(Project.objects.with_runner_counts().select_related("quota", "approval_terms"), name=name)
    sessions = found.sessions.order_by("-started_at")[:SESSIONS_SHOWN]
    terms = getattr(found, "approval_terms", None) or ApprovalTerms(project=found)
    context = {
        "project": found,
        "quota": _quota(found),
        "budgets": budgets_of_project(found.name),
        "limits": shown(limits_of_project(found)),
        "terms": terms,
        "questions_wait": figures.seconds(terms.expires_seconds),
        "rows": runner_rows(shown_runners().filter(project=found)[:RUNNERS_SHOWN]),
        "limit": RUNNERS_SHOWN,
        "match_json": json.dumps({"project": found.name}),
        "sessions": [(session, session_row(session)) for session in sessions],
    }
    return show(request, "dashboard/project.html", context, topics=(FLEET,))


@live_page
def settings(request: HttpRequest, name: str) -> HttpResponse:
    """Change what of a project may be changed."""
    need(request, "runners.change_project")
    found = get_object_or_404(Project.objects.select_related("quota", "approval_terms"), name=name)
    sets_terms = request.user.has_perm("runners.change_approvalterms")
    form = ProjectSettingsForm(found, request.POST or None, sets_terms=sets_terms)
    if request.method == "POST" and form.is_valid():
        try:
            change_project(found, actor=actor_of(request), **form.changes())
        except RunnerError as error:
            form.refuse(error.message, error.facts.get("field"))
        else:
            messages.success(request, f"{found.name} is as you set it. What runs keeps the limits it started with.")
            return redirect(reverse("dashboard:project", args=[found.name]))
    context = {"project": found, "form": form}
    return show(request, "dashboard/project_settings.html", context, status=422 if form.errors else 200)


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
