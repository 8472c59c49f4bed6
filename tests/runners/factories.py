"""Rows for tests, with overrides."""

import itertools
import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from runners.models import Node, Observation, Project, ResourceQuota, Runner, Session
from runners.services.transcripts.store import Place, Standing, enter_all, put
from runners.shim.identity import boot_id
from runners.states import NodeStatus, RunnerStatus

_numbers = itertools.count(1)


def make_project(*, quota: int | None = None, **fields: Any) -> Project:
    """Make a project over a directory of its own."""
    name = fields.pop("name", f"project-{next(_numbers)}-{uuid.uuid4().hex[:4]}")
    path = Path(fields.pop("path", "") or Path(settings.WORKSPACE_ROOTS[0]) / name)
    path.mkdir(parents=True, exist_ok=True)
    project = Project.objects.create(name=name, path=str(path.resolve()), **fields)
    if quota is not None:
        ResourceQuota.objects.create(project=project, max_concurrent_runners=quota)
    return project


def make_node(**fields: Any) -> Node:
    """Make an online node that is this machine."""
    defaults = {
        "name": f"node-{next(_numbers)}",
        "hostname": "here",
        "boot_id": boot_id(),
        "slots": 32,
        "status": NodeStatus.ONLINE,
        "last_seen_at": timezone.now(),
    }
    return Node.objects.create(**{**defaults, **fields})


def make_runner(**fields: Any) -> Runner:
    """Make a running runner with a session and an observation, without a process."""
    project = fields.pop("project", None) or make_project()
    node = fields.pop("node", None) or make_node()
    session = fields.pop("session", None) or Session.objects.create(project=project, backend="command")
    defaults = {
        "name": f"runner-{next(_numbers)}",
        "backend": "command",
        "argv": ["true"],
        "workspace": project.path,
        "status": RunnerStatus.RUNNING,
    }
    runner = Runner.objects.create(project=project, node=node, session=session, **{**defaults, **fields})
    Observation.objects.create(runner=runner, generation=runner.generation)
    return runner


def store(place: Place, start: int, text: bytes, **more: Any) -> Standing:
    """Store some text of a recording, and return how far it is stored now."""
    return enter_all([put(place, start, text, **more)])[0]
