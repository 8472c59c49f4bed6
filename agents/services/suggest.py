"""Which job suits which agent: what can start, by priority, specialty and age."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from agents.models import Agent, Job
from agents.querysets import JobQuerySet
from agents.states import PRIORITY_RANK, Priority

#: A label that names a specialty says more than a word of the text that happens to be the same.
LABEL_WEIGHT = 3
WORD_WEIGHT = 1
#: A job gains as much by waiting a day as by one word: so nothing that suits nobody waits for ever.
WAITING_WEIGHT_PER_DAY = 1
#: The most urgent jobs that are looked at; those behind them have their turn when these are given out.
CANDIDATES = 200
_WORD = re.compile(r"[a-z0-9]+")
#: Too common to say anything about a specialty.
_DULL = frozenset({"a", "and", "for", "in", "of", "on", "the", "to", "under", "with"})


@dataclass(frozen=True)
class Suggestion:
    """A job for an agent, and why."""

    job: Job
    score: float
    matches: tuple[str, ...]


def suggest_jobs(agent: Agent, *, count: int = 5) -> list[Suggestion]:
    """Return the jobs that suit an agent best, the best first: by priority, then by specialty and age."""
    return ranked(agent, ready_for(agent))[:count]


def ready_for(agent: Agent) -> list[Job]:
    """Return the most urgent jobs that this agent may take."""
    jobs: JobQuerySet = Job.objects.ready().for_agents().select_related("project").by_urgency()
    if agent.project_id:
        jobs = jobs.filter(project=agent.project_id)
    return [job for job in jobs[:CANDIDATES] if job.wanted_agent_id in (None, agent.pk)]


def ranked(agent: Agent, jobs: Iterable[Job]) -> list[Suggestion]:
    """Return suggestions of these jobs for an agent, the best first."""
    now, specialties = timezone.now(), specialty_words(agent)
    suggestions = [suggestion(job, specialties, now) for job in jobs]
    # Stable: of two that are alike, the older one stays first.
    return sorted(suggestions, key=lambda each: (-rank(each.job), -each.score))


def suggestion(job: Job, specialties: frozenset[str], now: datetime) -> Suggestion:
    """Return how well a job suits somebody with these specialties."""
    labels = words(*job.labels) & specialties
    texts = (words(job.title, job.description) & specialties) - labels
    days = (now - job.created_at).total_seconds() / 86_400
    score = LABEL_WEIGHT * len(labels) + WORD_WEIGHT * len(texts) + WAITING_WEIGHT_PER_DAY * days
    return Suggestion(job, score, tuple(sorted(labels | texts)))


def rank(job: Job) -> int:
    return PRIORITY_RANK[Priority(job.priority)]


def specialty_words(agent: Agent) -> frozenset[str]:
    """Return the words that an agent's role claims for itself."""
    return words(*agent.personality.specialties, *agent.personality.strengths, agent.personality.name)


def words(*texts: str) -> frozenset[str]:
    """Return the telling words of some texts; databases and database are the same."""
    found = _WORD.findall(" ".join(texts).lower())
    return frozenset(word.removesuffix("s") if len(word) > 3 else word for word in found if word not in _DULL)
