"""Make and archive projects."""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from runners.exceptions import InvalidRequest, RunnerError
from runners.models import Project, ResourceQuota
from runners.services.paths import allowed_directory
from runners.states import Isolation, ProjectStatus, WorktreeEnd


@transaction.atomic
def create_project(
    *,
    name: str,
    path: str,
    description: str = "",
    tags: Iterable[str] = (),
    max_concurrent_runners: int | None = None,
    isolation: str = Isolation.NONE,
    worktree_end: str = WorktreeEnd.KEEP,
) -> Project:
    """Create a project over an existing directory. Raises PathNotAllowed, InvalidRequest."""
    project = Project(
        name=name,
        path=allowed_directory(path),
        description=description,
        tags=list(tags),
        isolation=isolation,
        worktree_end=worktree_end,
    )
    try:
        project.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidRequest(" ".join(messages), field=field) from None
    project.save()
    set_quota(project, max_concurrent_runners=max_concurrent_runners)
    return project


def set_quota(project: Project, *, max_concurrent_runners: int | None) -> ResourceQuota:
    """Set how many runners the project may have at once; None is the default number."""
    wanted = ResourceQuota.DEFAULT_MAX_CONCURRENT_RUNNERS if max_concurrent_runners is None else max_concurrent_runners
    if wanted < 0:
        raise InvalidRequest("A quota cannot be negative.", field="max_concurrent_runners")
    quota, _ = ResourceQuota.objects.update_or_create(project=project, defaults={"max_concurrent_runners": wanted})
    return quota


@transaction.atomic
def archive_project(project: Project) -> Project:
    """Archive a project: its records stay, nothing new is launched. Raises RunnerError while runners are open."""
    open_runners = project.runners.open().count()
    if open_runners:
        raise RunnerError(f"{project.name} still has {open_runners} open runners: stop them first.", open=open_runners)
    Project.objects.filter(pk=project.pk).update(status=ProjectStatus.ARCHIVED, archived_at=timezone.now())
    project.refresh_from_db()
    return project


@transaction.atomic
def change_project(project: Project, **changes: Any) -> Project:
    """Change what was given of description, tags and max_concurrent_runners (None: the default number)."""
    if "max_concurrent_runners" in changes:
        set_quota(project, max_concurrent_runners=changes.pop("max_concurrent_runners"))
    if changes:
        Project.objects.filter(pk=project.pk).update(**changes)
    project.refresh_from_db()
    return project
