"""What a list of runners is narrowed to, as its address tells it."""

from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict

from runners.services.runner_verbs import narrow
from runners.states import RunnerStatus


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
        return narrow(runners, self.as_filter())

    def as_filter(self) -> dict[str, Any]:
        """Return the filter as the services know it."""
        same = {"project": self.project, "backend": self.backend, "node": self.node, "search": self.q}
        found: dict[str, Any] = {name: value for name, value in same.items() if value}
        if self.status == "active":
            found["open"] = True
        elif self.status:
            found["status"] = [self.status]
        return found

    def as_data(self) -> dict[str, str]:
        """Return what the browser compares new rows with; text it cannot compare, so then it adds none."""
        return {"status": self.status, "project": self.project, "backend": self.backend, "node": self.node, "q": self.q}
