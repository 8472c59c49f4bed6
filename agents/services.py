"""The verbs of agents and personalities. Pages, API, admin and tasks all call these."""

import secrets
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F

from agents import events
from agents.exceptions import InvalidAgent, PersonalityInUse
from agents.models import Agent, Personality
from agents.states import AgentStatus
from agents.transitions import move
from runners.backends import get_backend
from runners.exceptions import InvalidRequest
from runners.models import Project
from runners.states import ProjectStatus


@transaction.atomic
def create_agent(*, personality: str, actor: str, name: str = "", project: str | None = None) -> Agent:
    """Create an agent of a personality and return it, `idle`. Raises InvalidAgent, and then nothing was written.

    Without a name it gets one: cadet-3f9c12. Nothing runs yet: an agent gets its runner with its first work.
    """
    role = Personality.objects.filter(name=personality).first()
    if role is None:
        raise InvalidAgent(f"There is no personality {personality!r}.", field="personality")
    agent = Agent(name=name or f"{role.name}-{secrets.token_hex(3)}", personality=role, project=_project(project))
    _check(agent)
    agent.save()
    events.agent_moved(agent, "", actor=actor)
    return move(agent.pk, AgentStatus.IDLE, actor=actor)


def retire_agent(agent_id: int, *, actor: str) -> Agent:
    """Take an agent out of service for good; its records stay. Raises AgentMoveRefused while it works."""
    return move(agent_id, AgentStatus.RETIRED, actor=actor)


@transaction.atomic
def save_personality(personality: Personality, changes: dict[str, Any]) -> Personality:
    """Save a personality, new or changed, with `changes`; each change of an existing one is a version.

    Raises InvalidAgent.
    """
    for name, value in changes.items():
        setattr(personality, name, value)
    _check(personality)
    _check_backend(personality)
    new = personality.pk is None
    personality.save()
    if not new:
        # Counted in the database: two editors at once make two versions.
        Personality.objects.filter(pk=personality.pk).update(version=F("version") + 1)
        personality.refresh_from_db(fields=["version"])
    return personality


@transaction.atomic
def delete_personality(personality: Personality) -> None:
    """Delete a personality that no agent has. Raises PersonalityInUse."""
    # Locked, so that no agent can come to have it meanwhile: an insert takes a share of this lock for its foreign key.
    Personality.objects.select_for_update().filter(pk=personality.pk).first()
    count = personality.agents.count()
    if count:
        raise PersonalityInUse(f"{count} agents have the personality {personality.name}.", agents=count)
    personality.delete()


def _project(name: str | None) -> Project | None:
    if not name:
        return None
    project = Project.objects.filter(name=name).first()
    if project is None:
        raise InvalidAgent(f"There is no project {name!r}.", field="project")
    if project.status == ProjectStatus.ARCHIVED:
        raise InvalidAgent(f"The project {name} is archived.", field="project")
    return project


def _check(record: models.Model) -> None:
    try:
        record.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidAgent(" ".join(messages), field=field) from None


def _check_backend(personality: Personality) -> None:
    """Raise InvalidAgent if the backend is not there, or does not know the flags."""
    try:
        get_backend(personality.default_backend).check_flags(personality.flags)
    except InvalidRequest as error:
        field = "default_backend" if error.facts.get("field") == "backend" else error.facts.get("field")
        raise InvalidAgent(error.message, field=field) from None
