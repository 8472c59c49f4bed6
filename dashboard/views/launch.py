"""Launch a runner."""

import shlex
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from dashboard.conversations import conversation_verbs, number
from dashboard.forms import LaunchForm, initial_launch
from dashboard.page import live_page, need, show
from runners.actors import actor_of
from runners.backends import all_backends
from runners.backends.base import Backend
from runners.exceptions import RunnerError
from runners.models import Message, Node, Project, Runner, Session
from runners.services import launch_runner
from runners.services.going_on import with_environment_of_last
from runners.states import Role


@live_page
def launch(request: HttpRequest) -> HttpResponse:
    """Show the form; launch what is sent. A refusal leaves what was typed in place."""
    need(request, "runners.add_runner")
    if request.method != "POST":
        return _show(request, LaunchForm(initial=_initial(request)))
    form = LaunchForm(request.POST)
    if form.is_valid():
        try:
            wanted = with_environment_of_last(form.request())
            runner = launch_runner(form.cleaned_data["project"], wanted, actor=actor_of(request), user=request.user)
        except RunnerError as error:
            form.refuse(error.message, error.facts.get("field"))
        else:
            messages.success(request, f"{runner.name} is {runner.status}.")
            return redirect(reverse("dashboard:runner", args=[runner.pk]))
    return _show(request, form, status=422)


def _show(request: HttpRequest, form: LaunchForm, status: int = 200) -> HttpResponse:
    session = _found(Session.objects.all(), form["session_id"].value())
    nodes = list(Node.objects.all())
    context = {
        "form": form,
        "backends": [_backend_facts(backend, nodes) for backend in all_backends()],
        "chosen": form["backend"].value(),
        "has_projects": Project.objects.open().exists(),
        "has_nodes": Node.objects.accepting().exists(),
        "has_engine": Node.objects.with_engine().exists(),
        "images": [image for image in settings.CONTAINER_IMAGES if "*" not in image],
        "node_labels": sorted({label for node in nodes for label in node.labels}),
        "session": session,
        "at_message": Message.objects.filter(session=session, pk=number(str(form["at"].value()))).first()
        if session
        else None,
        **conversation_verbs(session),
    }
    return show(request, "dashboard/launch.html", context, status=status)


def _backend_facts(backend: Backend, nodes: Sequence[Node]) -> dict[str, object]:
    """Return what the form must know of a backend: which fields it uses, which flags it takes, where it is found."""
    name = backend.name
    found = [node for node in nodes if name in node.programs]
    version = next(
        (node.programs[name].get("version", "") for node in found if isinstance(node.programs[name], dict)), ""
    )
    return {
        "name": name,
        "label": backend.label,
        "program": backend.program,
        "version": version,
        "missing": bool(backend.program) and not found,
        "prompt": backend.prompt,
        "flags": sorted(backend.allowed_flags),
        "takes_command": name == "command",
    }


def _initial(request: HttpRequest) -> dict[str, object]:
    """Return what the address fills in: fields by name, or everything of a runner to launch again."""
    initial: dict[str, object] = {"backend": all_backends()[0].name}
    again = _found(Runner.objects.select_related("project"), request.GET.get("again"))
    session = _found(Session.objects.select_related("project"), request.GET.get("session"))
    if session is not None:
        # As it was, but for what is said.
        again = session.runners.select_related("project").order_by("-created_at").first()
    if again is not None:
        initial |= {
            "project": again.project.name,
            "backend": again.backend,
            "command": shlex.join(again.argv),
            "prompt": again.prompt,
            "model": again.model,
            "flags": shlex.join(again.flags),
            "workspace": "" if again.workspace == again.project.path else again.workspace,
            "grace_seconds": again.grace_seconds,
            "approvals": again.approvals,
            "isolation": again.isolation,
            "worktree_end": again.worktree_end,
            "labels": " ".join(again.labels),
            "runtime": again.runtime,
            "image": again.image,
            "network": again.network,
            **again.limits,
        }
    if session is not None:
        initial |= {"project": session.project.name, "backend": session.backend, "session_id": str(session.pk)}
        initial["prompt"] = _prompt_at(session, number(request.GET.get("at")))
    return initial | initial_launch(request.GET)


def _prompt_at(session: Session, at: int) -> str:
    """Return the prompt that a new one is to take the place of, to be changed; else nothing."""
    prompt = Message.objects.filter(session=session, pk=at, role=Role.USER).first() if at else None
    return prompt.text if prompt else ""


def _found(rows: Any, text: object) -> Any:
    """Return the row whose id is `text`, or None, also when that is no id."""
    try:
        return rows.filter(pk=UUID(str(text))).first()
    except ValueError:
        return None
