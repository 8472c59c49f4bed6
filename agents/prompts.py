"""Role prompts as templates: {{ job.title }} and the like are filled in, and nothing else happens.

There are no tags, filters, attributes or calls: a prompt is text that staff write, and must not run anything.
"""

import re
from collections.abc import Mapping, Sequence

from django.db.models import Prefetch, prefetch_related_objects

from agents.exceptions import InvalidAgent
from agents.models import Agent, Comment, Job
from runners.models import Project

#: What a template may name.
NAMES = (
    "agent.name",
    "agent.personality",
    "job.comments",
    "job.deliverables",
    "job.description",
    "job.id",
    "job.labels",
    "job.priority",
    "job.title",
    "project.description",
    "project.name",
    "project.path",
)
#: A backslash keeps the braces: a role prompt may be about templates.
_PLACEHOLDER = re.compile(r"(?P<kept>\\\{\{)|\{\{(?P<name>[^{}]*)\}\}|(?P<open>\{\{)")
#: Comments put into a prompt: the last of them, such as why the last run failed.
COMMENTS_TOLD = 10


def check_template(text: str) -> None:
    """Raise InvalidAgent at the first placeholder that cannot be filled in, naming those that can."""
    for found in _PLACEHOLDER.finditer(text):
        if found["kept"]:
            continue
        line = text.count("\n", 0, found.start()) + 1
        if found["open"]:
            raise InvalidAgent(
                f"Line {line}: {{{{ is not closed by }}}}; write \\{{{{ for the braces themselves.", field="role_prompt"
            )
        if found["name"].strip() not in NAMES:
            raise InvalidAgent(
                f"Line {line}: there is no {found['name'].strip()!r} to fill in; there are {', '.join(NAMES)}.",
                field="role_prompt",
                allowed=list(NAMES),
            )


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Return the template with its placeholders replaced; what it does not know stays. Values are not read again."""

    def value(found: re.Match[str]) -> str:
        if found["kept"]:
            return "{{"
        return values.get((found["name"] or "").strip(), found[0])

    return _PLACEHOLDER.sub(value, text)


def read_talk(jobs: Sequence[Job]) -> None:
    """Read what render_prompt() tells of jobs beside their own columns: for several at once, where it reads for one."""
    newest = Comment.objects.order_by("-pk")[:COMMENTS_TOLD]
    prefetch_related_objects(jobs, "deliverables", Prefetch("comments", queryset=newest, to_attr="newest_comments"))


def render_prompt(role_prompt: str, *, project: Project, job: Job, agent: Agent) -> str:
    """Return what an agent is told: its role, then the job, unless the role's template places that itself."""
    read_talk([job])
    role = fill_in(role_prompt, _values(project, job, agent)).strip()
    named = {found["name"].strip() for found in _PLACEHOLDER.finditer(role_prompt) if found["name"]}
    if named & {"job.title", "job.description"}:
        return role
    return f"{role}\n\n{_task(job)}".strip()


def _task(job: Job) -> str:
    parts = [f"# {job.title}", f"({job.pk})", job.description.strip()]
    if deliverables := _deliverables(job):
        parts.append(f"Deliverables:\n{deliverables}")
    if comments := _comments(job):
        parts.append(f"What was said about it so far:\n{comments}")
    return "\n\n".join(part for part in parts if part)


def _values(project: Project, job: Job, agent: Agent) -> dict[str, str]:
    return {
        "agent.name": agent.name,
        "agent.personality": agent.personality.name,
        "job.comments": _comments(job),
        "job.deliverables": _deliverables(job),
        "job.description": job.description,
        "job.id": job.pk,
        "job.labels": ", ".join(job.labels),
        "job.priority": job.priority,
        "job.title": job.title,
        "project.description": project.description,
        "project.name": project.name,
        "project.path": project.path,
    }


def _deliverables(job: Job) -> str:
    return "\n".join(f"- [{'x' if each.done_at else ' '}] {each.text}" for each in job.deliverables.all())


def _comments(job: Job) -> str:
    newest: list[Comment] = job.newest_comments  # type: ignore[attr-defined] # as read_talk() leaves it
    return "\n".join(f"- {each.actor}: {each.text}" for each in reversed(newest))
