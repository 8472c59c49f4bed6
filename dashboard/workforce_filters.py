"""What the lists of agents and jobs are narrowed to, as their addresses tell it."""

from dataclasses import dataclass, fields
from typing import Any, Self

from django.db.models import Q
from django.http import QueryDict

from agents.services.batch_verbs import meant_for
from agents.states import AgentStatus, Decision, JobStatus, Priority


@dataclass(frozen=True)
class Choices:
    """Choices in an address; an empty one narrows nothing."""

    @classmethod
    def from_query(cls, query: QueryDict) -> Self:
        """Read the choices; one that does not exist counts as none."""
        values = {each.name: query.get(each.name, "").strip()[:200] for each in fields(cls)}
        for name, known in cls.known().items():
            values[name] = values[name] if values[name] in known else ""
        return cls(**values)

    @classmethod
    def known(cls) -> dict[str, list[str]]:
        """Return the values there are, for choices that have a fixed set of them."""
        return {}

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True)
class AgentChoices(Choices):
    status: str = ""
    personality: str = ""
    project: str = ""
    q: str = ""

    @classmethod
    def known(cls) -> dict[str, list[str]]:
        return {"status": AgentStatus.values}

    def as_filter(self) -> dict[str, Any]:
        """Return the choices as an operation narrows agents."""
        wanted = {"status": self.status, "personality": self.personality, "project": self.project, "search": self.q}
        return {name: value for name, value in wanted.items() if value}

    def apply(self, agents: Any, *, with_status: bool = True) -> Any:
        """Return the agents that match."""
        wanted = {
            "status": self.status if with_status else "",
            "personality__name": self.personality,
            "project__name": self.project,
            "name__icontains": self.q,
        }
        return agents.filter(**{name: value for name, value in wanted.items() if value})


@dataclass(frozen=True)
class JobChoices(Choices):
    status: str = ""
    project: str = ""
    priority: str = ""
    label: str = ""
    agent: str = ""
    decision: str = ""
    q: str = ""

    @classmethod
    def known(cls) -> dict[str, list[str]]:
        return {"status": JobStatus.values, "priority": Priority.values, "decision": ["any"]}

    def as_filter(self) -> dict[str, Any]:
        """Return the choices as an operation narrows jobs."""
        names = ("status", "project", "priority", "label", "agent")
        wanted: dict[str, Any] = {name: getattr(self, name) for name in names}
        wanted |= {"search": self.q, "decision": [each.value for each in Decision if each] if self.decision else []}
        return {name: value for name, value in wanted.items() if value}

    def apply(self, jobs: Any) -> Any:
        """Return the jobs that match; `status` is left to the board, which has a column for each."""
        wanted = {"project__name": self.project, "priority": self.priority}
        jobs = jobs.filter(**{name: value for name, value in wanted.items() if value})
        if self.label:
            jobs = jobs.filter(labels__contains=[self.label])
        if self.agent:
            jobs = jobs.filter(meant_for(self.agent))
        if self.decision:
            jobs = jobs.undecided()
        return jobs.filter(Q(pk__icontains=self.q) | Q(title__icontains=self.q)) if self.q else jobs
