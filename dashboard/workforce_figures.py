"""How the workforce stands, for the overview: three queries."""

from collections import Counter
from typing import Any

from django.db.models import Count, Sum
from django.utils import timezone

from agents.models import Agent, Job, TimeEntry
from agents.states import JOB_ENDED, AgentStatus, JobStatus, Priority
from dashboard import figures


def workforce() -> dict[str, Any]:
    """Return jobs by status and by priority, how many were completed of those that ended, hours, agents by status."""
    jobs = list(Job.objects.order_by().values_list("status", "priority").annotate(n=Count("pk")))
    by_status: Counter[str] = Counter()
    by_priority: Counter[str] = Counter()
    for status, priority, count in jobs:
        by_status[status] += count
        if status not in JOB_ENDED:
            by_priority[priority] += count
    agents = Agent.objects.counts_by_status()
    return {
        "any": bool(jobs) or any(agents.values()),
        "jobs": [{"status": s.value, "label": s.label, "count": by_status[s]} for s in JobStatus],
        "priorities": _priorities(by_priority),
        "completion": _completion(by_status),
        "hours": _hours(),
        "agents": [{"status": s.value, "label": s.label, "count": agents[s]} for s in AgentStatus if agents[s]],
        "agent_count": sum(agents.values()) - agents[AgentStatus.RETIRED],
    }


def _priorities(counts: Counter[str]) -> list[dict[str, Any]]:
    most = max([*counts.values(), 1])
    return [
        {"priority": p.value, "label": p.label, "count": counts[p], "share": round(100 * counts[p] / most)}
        for p in reversed(Priority)
    ]


def _completion(counts: Counter[str]) -> str:
    """Return the share of completed jobs among those whose work has ended; a dash before the first."""
    ended = sum(counts[status] for status in JOB_ENDED)
    return figures.percent(100 * counts[JobStatus.COMPLETED] / ended) if ended else figures.NONE


def _hours() -> str:
    total = TimeEntry.objects.with_seconds(timezone.now()).order_by().aggregate(total=Sum("seconds"))["total"]
    return figures.NONE if total is None else figures.seconds(total)
