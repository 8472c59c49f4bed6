"""What a list of runners is narrowed to, as its address tells it."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import QueryDict

from runners.states import TERMINAL, RunnerStatus


@dataclass(frozen=True)
class RunnerFilter:
    """The choices in the address; an empty one narrows nothing."""

    status: str = ""
    project: str = ""
    backend: str = ""
    node: str = ""
    q: str = ""

    @classmethod
    def from_query(cls, query: QueryDict) -> "RunnerFilter":
        """Read the choices; a status that does not exist counts as none."""
        values = {name: query.get(name, "").strip()[:200] for name in ("status", "project", "backend", "node", "q")}
        if values["status"] not in {"active", *RunnerStatus.values}:
            values["status"] = ""
        return cls(**values)

    def without_status(self) -> "RunnerFilter":
        return replace(self, status="")

    def __bool__(self) -> bool:
        return any((self.status, self.project, self.backend, self.node, self.q))

    def apply(self, runners: Any) -> Any:
        """Return the runners that match."""
        if self.status == "active":
            runners = runners.exclude(status__in=TERMINAL)
        elif self.status:
            runners = runners.filter(status=self.status)
        exact = {"project__name": self.project, "backend": self.backend, "node__name": self.node}
        runners = runners.filter(**{name: value for name, value in exact.items() if value})
        return runners.filter(self._text()) if self.q else runners

    def _text(self) -> Q:
        """Match name, prompt, model and reason; and the id, when the text is one."""
        found = Q()
        for name in ("name", "prompt", "model", "reason"):
            found |= Q(**{f"{name}__icontains": self.q})
        try:
            return found | Q(pk=UUID(self.q))
        except ValueError:
            return found

    def as_data(self) -> dict[str, str]:
        """Return what the browser compares new rows with; text it cannot compare, so then it adds none."""
        return {"status": self.status, "project": self.project, "backend": self.backend, "node": self.node, "q": self.q}
