"""Find the project that a name means."""

from agents.exceptions import AgentError
from runners.models import Project
from runners.states import ProjectStatus


def open_project(name: str | None, refusal: type[AgentError]) -> Project | None:
    """Return the project `name`, or None for no name. Raises `refusal` if there is none, or it is archived."""
    if not name:
        return None
    project = Project.objects.filter(name=name).first()
    if project is None:
        raise refusal(f"There is no project {name!r}.", field="project")
    if project.status == ProjectStatus.ARCHIVED:
        raise refusal(f"The project {name} is archived.", field="project")
    return project
