"""Add, change and delete personalities; each change is a version."""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.forms.models import model_to_dict

from agents import acts, events
from agents.exceptions import InvalidAgent, PersonalityInUse
from agents.models import Assignment, Personality, PersonalityVersion
from agents.prompts import check_template
from agents.services.check import check
from runners.backends import get_backend
from runners.exceptions import InvalidRequest
from runners.services.limits import check_numbers

#: Not part of a version's content: they tell of the row, not of the role.
APART = ("id", "name", "version", "updated_at")


@transaction.atomic
def save_personality(personality: Personality, changes: dict[str, Any], *, actor: str = "system:agents") -> Personality:
    """Save a personality, new or changed, with `changes`; each change of an existing one is a version.

    Raises InvalidAgent.
    """
    for name, value in changes.items():
        setattr(personality, name, value)
    check(personality, InvalidAgent)
    check_template(personality.role_prompt)
    _check_backend(personality)
    personality.limits = checked_limits(personality.limits)
    stored = Personality.objects.select_for_update().filter(pk=personality.pk).first()
    personality.save()
    before, after = (model_to_dict(each, exclude=APART) if each else None for each in (stored, personality))
    acts.on_personality("change" if stored else "create", personality, actor=actor, before=before, after=after)
    if stored:
        # Counted in the database, under the row's lock: two editors at once make two versions.
        Personality.objects.filter(pk=personality.pk).update(version=F("version") + 1)
        personality.refresh_from_db()
    keep_version(personality, actor=actor)
    events.personality_changed(personality, actor=actor)
    return personality


def keep_version(personality: Personality, *, actor: str) -> PersonalityVersion:
    """Keep the personality's present content as its present version."""
    kept, _ = PersonalityVersion.objects.get_or_create(
        personality=personality,
        version=personality.version,
        defaults={"content": model_to_dict(personality, exclude=APART), "actor": actor},
    )
    return kept


@transaction.atomic
def delete_personality(personality: Personality, *, actor: str) -> None:
    """Delete a personality that no agent has. Raises PersonalityInUse."""
    # Locked, so that no agent can come to have it meanwhile: an insert takes a share of this lock for its foreign key.
    Personality.objects.select_for_update().filter(pk=personality.pk).first()
    count = personality.agents.count()
    if count:
        raise PersonalityInUse(f"{count} agents have the personality {personality.name}.", agents=count)
    if Assignment.objects.filter(personality_version__personality=personality).exists():
        raise PersonalityInUse(f"Agents have worked with the personality {personality.name}: it stays.", agents=0)
    acts.on_personality("delete", personality, actor=actor, before=model_to_dict(personality, exclude=APART))
    personality.delete()


def checked_limits(limits: Any) -> dict[str, int]:
    """Return the limits of a role's runs, none for None. Raises InvalidAgent."""
    limits = {} if limits is None else limits
    if not isinstance(limits, dict):
        raise InvalidAgent('Limits are told as in {"memory_mb": 2048}.', field="limits")
    try:
        check_numbers(limits)
    except InvalidRequest as error:
        raise InvalidAgent(error.message, field="limits") from None
    return limits


def _check_backend(personality: Personality) -> None:
    """Raise InvalidAgent if the backend is not there, does not know the flags, or cannot ask where it should."""
    try:
        backend = get_backend(personality.default_backend)
        backend.check_flags(personality.flags)
        backend.check_approvals(personality.approvals)
    except InvalidRequest as error:
        field = "default_backend" if error.facts.get("field") == "backend" else error.facts.get("field")
        raise InvalidAgent(error.message, field=field) from None
    if not all(isinstance(word, str) for word in personality.argv):
        raise InvalidAgent("Every part of argv must be a text.", field="argv")
