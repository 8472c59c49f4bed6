"""Make agents: one by name, or many with names of their own."""

from collections.abc import Iterable
from datetime import timedelta

from coolname import generate_slug
from django.db import transaction
from django.utils import timezone

from agents import acts
from agents.exceptions import AgentMoveRefused, InvalidAgent
from agents.models import Agent, Personality
from agents.services.check import check
from agents.services.places import open_project
from agents.states import AgentStatus
from agents.transitions import move, move_many, record_arrivals
from outbox.services import bunched

#: More than that nobody means to.
MAX_AT_ONCE = 1_000
#: coolname has 320,000 names of two words: where so many tries were taken, a third word is added.
TRIES_OF_TWO_WORDS = 5
#: An agent stays `spawning` only if a process died in between, or if it was imported so.
SPAWN_PATIENCE = timedelta(seconds=30)


def create_agent(*, personality: str, actor: str, name: str = "", project: str | None = None) -> Agent:
    """Create an agent of a personality and return it, `idle`. Raises InvalidAgent, and then nothing was written.

    Without a name it gets one: cadet-elite-kagu. Nothing runs yet: an agent gets its runner with its first work.
    """
    return _spawn(personality, project, [name] if name else None, count=1, actor=actor)[0]


def spawn_agents(*, personality: str, count: int, actor: str, project: str | None = None) -> list[Agent]:
    """Create `count` agents of a personality, all or none, and return them. Raises InvalidAgent."""
    if not 1 <= count <= MAX_AT_ONCE:
        raise InvalidAgent(f"From 1 to {MAX_AT_ONCE} agents can be spawned at once, not {count}.", field="count")
    return _spawn(personality, project, None, count=count, actor=actor)


@transaction.atomic
def _spawn(personality: str, project: str | None, names: list[str] | None, *, count: int, actor: str) -> list[Agent]:
    role = Personality.objects.filter(name=personality).first()
    if role is None:
        raise InvalidAgent(f"There is no personality {personality!r}.", field="personality")
    place = open_project(project, InvalidAgent)
    agents = [Agent(name=name, personality=role, project=place) for name in names or new_names(role.name, count)]
    if names:
        check(agents[0], InvalidAgent)
    Agent.objects.bulk_create(agents)
    record_arrivals(agents, actor=actor)
    with bunched():
        for agent in agents:
            facts = {"personality": role.name, "project": place and place.name}
            acts.on_agent("create", agent, actor=actor, after=facts)
    move_many(agents, AgentStatus.IDLE, actor=actor)
    return agents


def new_names(prefix: str, count: int) -> list[str]:
    """Return `count` readable names that no agent has."""
    names: set[str] = set()
    words = 2
    for attempt in range(1, 100):
        candidates = {f"{prefix}-{generate_slug(words)}"[:60] for _ in range(count - len(names))}
        names |= candidates - _taken(candidates)
        if len(names) >= count:
            return sorted(names)[:count]
        words = 2 if attempt < TRIES_OF_TWO_WORDS else 3
    raise InvalidAgent("No free name was found.", field="name")


def _taken(names: Iterable[str]) -> set[str]:
    return set(Agent.objects.filter(name__in=list(names)).values_list("name", flat=True))


def recover_stuck_spawns() -> int:
    """Make agents idle that have been spawning for too long; return how many."""
    stuck = Agent.objects.filter(
        status=AgentStatus.SPAWNING, status_changed_at__lt=timezone.now() - SPAWN_PATIENCE
    ).values_list("pk", flat=True)
    return sum(_recovered(pk) for pk in stuck)


def _recovered(agent_id: int) -> bool:
    try:
        move(
            agent_id,
            AgentStatus.IDLE,
            actor="system:agents",
            reason="it was spawning for too long",
            allowed=frozenset({AgentStatus.SPAWNING}),
        )
    except AgentMoveRefused:
        return False  # it came through meanwhile
    return True
