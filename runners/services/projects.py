"""Make and archive projects."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from runners import acts, events
from runners.exceptions import InvalidRequest, RunnerError
from runners.models import Project, ResourceQuota
from runners.services.approvals.rules import set_terms
from runners.services.limits import limits_of_project, set_limits
from runners.services.paths import allowed_directory
from runners.states import Isolation, ProjectStatus, WorktreeEnd


@transaction.atomic
def create_project(
    *,
    name: str,
    path: str,
    actor: str,
    description: str = "",
    tags: Iterable[str] = (),
    max_concurrent_runners: int | None = None,
    limits: Mapping[str, int | None] | None = None,
    isolation: str = Isolation.NONE,
    worktree_end: str = WorktreeEnd.KEEP,
    transcript_days: int | None = None,
) -> Project:
    """Create a project over an existing directory. Raises PathNotAllowed, InvalidRequest."""
    project = Project(
        name=name,
        path=allowed_directory(path),
        description=description,
        tags=list(tags),
        isolation=isolation,
        worktree_end=worktree_end,
        transcript_days=transcript_days,
    )
    _check(project)
    try:
        with transaction.atomic():
            project.save()
    except IntegrityError:
        # Another took the name since it was looked for: now it is seen.
        _check(project)
        raise
    _write_quota(project, max_concurrent_runners)
    set_limits(project, limits or {})
    acts.on_project("create", project, actor=actor, after={"path": project.path, **_editable(project)})
    events.project_event("project.created", project, actor=actor)
    return project


def _check(project: Project) -> None:
    """Raise InvalidRequest with the first field that is wrong."""
    try:
        project.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidRequest(" ".join(messages), field=field) from None


@transaction.atomic
def set_quota(project: Project, *, max_concurrent_runners: int | None, actor: str) -> ResourceQuota:
    """Set how many runners the project may have at once; None is the default number."""
    return change_project(project, actor=actor, max_concurrent_runners=max_concurrent_runners).quota


def _write_quota(project: Project, max_concurrent_runners: int | None) -> None:
    wanted = ResourceQuota.DEFAULT_MAX_CONCURRENT_RUNNERS if max_concurrent_runners is None else max_concurrent_runners
    if wanted < 0:
        raise InvalidRequest("A quota cannot be negative.", field="max_concurrent_runners")
    ResourceQuota.objects.update_or_create(project=project, defaults={"max_concurrent_runners": wanted})


def _editable(project: Project) -> dict[str, Any]:
    """Return what people may change of a project, for the audit log."""
    quota = ResourceQuota.objects.filter(project=project).values_list("max_concurrent_runners", flat=True).first()
    chosen = ("description", "tags", "isolation", "worktree_end", "transcript_days")
    return {
        **{name: getattr(project, name) for name in chosen},
        "max_concurrent_runners": quota,
        **limits_of_project(project),
    }


@transaction.atomic
def archive_project(project: Project, *, actor: str) -> Project:
    """Archive a project: its records stay, nothing new is launched. Raises RunnerError while runners are open."""
    open_runners = project.runners.open().count()
    if open_runners:
        raise RunnerError(f"{project.name} still has {open_runners} open runners: stop them first.", open=open_runners)
    archived = ProjectStatus.ARCHIVED
    # Compare-and-set: archiving twice is one act.
    if (
        Project.objects.filter(pk=project.pk)
        .exclude(status=archived)
        .update(status=archived, archived_at=timezone.now())
    ):
        acts.on_project("archive", project, actor=actor, before={"status": project.status}, after={"status": archived})
        events.project_event("project.archived", project, actor=actor)
    project.refresh_from_db()
    return project


@transaction.atomic
def change_project(project: Project, *, actor: str, **changes: Any) -> Project:
    """Change what was given: columns, max_concurrent_runners (None: the default number), some limits, approval_terms.

    Raises InvalidRequest, RuleRefused.
    """
    before = _editable(Project.objects.select_for_update().get(pk=project.pk))
    if terms := changes.pop("approval_terms", {}):
        set_terms(project, terms, actor=actor)
    set_limits(project, changes.pop("limits", {}))
    if "max_concurrent_runners" in changes:
        _write_quota(project, changes.pop("max_concurrent_runners"))
    if changes:
        Project.objects.filter(pk=project.pk).update(**changes)
    project.refresh_from_db()
    after = _editable(project)
    if after != before:
        acts.on_project("change", project, actor=actor, before=before, after=after)
        changed = sorted(name for name in after.keys() | before.keys() if after.get(name) != before.get(name))
        events.project_event("project.changed", project, actor=actor, changed=changed)
    return project
