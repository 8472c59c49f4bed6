"""Figures of many agents or jobs, reckoned from their rows in a fixed number of queries: no counters drift."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any

from django.db.models import Count, F, Q, Sum
from django.utils import timezone

from agents.models import Assignment, Comment, Deliverable, Dependency, Thought, TimeEntry
from agents.states import FAILURES, JobStatus, Outcome
from runners.models import UsageEntry
from runners.models.usage import TOKEN_COLUMNS, UNPRICED

TOKENS = reduce(add, (F(column) for column in TOKEN_COLUMNS))


@dataclass
class AgentFigures:
    """What an agent did and used. `tokens` and `cost_usd` are None when not known, never 0 for that."""

    completed: int = 0
    failed: int = 0
    seconds: float = 0.0
    tokens: int | None = None
    cost_usd: Decimal | None = None
    #: False: some of what was used has no known cost, so it is at least `cost_usd`.
    cost_complete: bool = True
    last_thought: str = ""

    @property
    def success_rate(self) -> float | None:
        """Completed jobs among all that were brought to an end, 0 to 1; None before the first."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None


def figures_of_agents(ids: Iterable[int]) -> dict[int, AgentFigures]:
    """Return the figures of each of these agents, in four queries."""
    figures = {agent_id: AgentFigures() for agent_id in ids}
    for agent_id, completed, failed in _outcomes(figures):
        figures[agent_id].completed, figures[agent_id].failed = completed, failed
    for agent_id, seconds in _seconds("agent_id", agent__in=figures):
        figures[agent_id].seconds = seconds
    for row in _usage(figures):
        mine = figures[row["runner__assignment__agent_id"]]
        mine.tokens, mine.cost_usd, mine.cost_complete = row["all_tokens"], row["cost"], not row["unpriced"]
    newest = Thought.objects.filter(agent__in=figures).order_by("agent_id", "-at", "-pk").distinct("agent_id")
    for agent_id, text in newest.values_list("agent_id", "text"):
        figures[agent_id].last_thought = text
    return figures


def _outcomes(agents: Iterable[int]) -> Iterable[tuple[int, int, int]]:
    rows: Any = (
        Assignment.objects.filter(agent__in=list(agents))
        .order_by()
        .values("agent_id")
        .annotate(
            completed=Count("pk", filter=Q(outcome=Outcome.COMPLETED)),
            failed=Count("pk", filter=Q(outcome__in=sorted(FAILURES))),
        )
        .values_list("agent_id", "completed", "failed")
    )
    return rows  # type: ignore[no-any-return]


def _usage(agents: Iterable[int]) -> Iterable[dict[str, Any]]:
    rows: Any = (
        UsageEntry.objects.filter(runner__assignment__agent__in=list(agents))
        .order_by()
        .values("runner__assignment__agent_id")
        .annotate(all_tokens=Sum(TOKENS), cost=Sum("cost_usd"), unpriced=Count("pk", filter=UNPRICED))
    )
    return rows  # type: ignore[no-any-return]


@dataclass
class JobFigures:
    """What hangs on a job. `hours` are those of its time entries, or what was reported without any."""

    hours: float | None = None
    dependencies: int = 0
    open_dependencies: int = 0
    deliverables: int = 0
    deliverables_done: int = 0
    comments: int = 0
    failures: int = 0


def figures_of_jobs(jobs: Iterable[Any]) -> dict[str, JobFigures]:
    """Return the figures of each of these jobs, in five queries."""
    figures = {
        job.pk: JobFigures(hours=None if job.reported_hours is None else float(job.reported_hours)) for job in jobs
    }
    for job_id, seconds in _seconds("job_id", job__in=figures):
        figures[job_id].hours = seconds / 3600
    unmet = ~Q(needs__status=JobStatus.COMPLETED)
    _put(figures, Dependency, dependencies=Count("pk"), open_dependencies=Count("pk", filter=unmet))
    done = Q(done_at__isnull=False)
    _put(figures, Deliverable, deliverables=Count("pk"), deliverables_done=Count("pk", filter=done))
    _put(figures, Comment, comments=Count("pk"))
    _put(figures, Assignment, failures=Count("pk", filter=Q(outcome__in=sorted(FAILURES))))
    return figures


def _put(figures: dict[str, JobFigures], model: Any, **counts: Count) -> None:
    for row in model.objects.filter(job__in=figures).order_by().values("job_id").annotate(**counts):
        for name in counts:
            setattr(figures[row["job_id"]], name, row[name])


def _seconds(group: str, **conditions: Any) -> Iterable[tuple[Any, float]]:
    entries: Any = TimeEntry.objects.filter(**conditions).with_seconds(timezone.now()).order_by()
    rows: Any = entries.values(group).annotate(total=Sum("seconds")).values_list(group, "total")
    return rows  # type: ignore[no-any-return]
