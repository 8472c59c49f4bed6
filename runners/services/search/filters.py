"""What a search is narrowed to."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q


@dataclass(frozen=True)
class Filters:
    """An empty one narrows nothing. `until` itself is outside."""

    project: str = ""
    agent: str = ""
    backend: str = ""
    tool: str = ""
    role: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return self != Filters()

    def condition(self, prefix: str = "") -> Q:
        """Return the condition on chunks, or on what reaches them by `prefix`."""
        columns = {
            "message__session__project__name": self.project,
            "message__runner__agent_name": self.agent,
            "message__session__backend": self.backend,
            "message__tool_name": self.tool,
            "message__role": self.role,
            "message__at__gte": self.since,
            "message__at__lt": self.until,
        }
        return Q(**{prefix + column: value for column, value in columns.items() if value})


NO_FILTERS = Filters()
