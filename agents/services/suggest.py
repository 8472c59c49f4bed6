"""Which job suits which agent: what can start, by priority, specialty and age."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from django.utils import timezone

from agents.models import Agent, Job
from agents.querysets import JobQuerySet
from agents.states import PRIORITY_RANK, Decision, JobStatus, Priority
from agents.transitions import locked_jobs

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


class Suits:
    """How well jobs suit agents at one moment. What a job says is read once, and a role is looked at it with once."""

    def __init__(self) -> None:
        self.now = timezone.now()
        self._said: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        self._specialties: dict[int, frozenset[str]] = {}
        self._found: dict[tuple[str, int], Suggestion] = {}

    def __call__(self, job: Job, agent: Agent) -> Suggestion:
        """Return how well the job suits somebody of the agent's role."""
        key = job.pk, agent.personality_id
        if key not in self._found:
            self._found[key] = self._suggestion(job, agent)
        return self._found[key]

    def _suggestion(self, job: Job, agent: Agent) -> Suggestion:
        if job.pk not in self._said:
            self._said[job.pk] = words(*job.labels), words(job.title, job.description)
        if agent.personality_id not in self._specialties:
            self._specialties[agent.personality_id] = specialty_words(agent)
        labels, texts = (said & self._specialties[agent.personality_id] for said in self._said[job.pk])
        texts -= labels
        days = (self.now - job.created_at).total_seconds() / 86_400
        score = LABEL_WEIGHT * len(labels) + WORD_WEIGHT * len(texts) + WAITING_WEIGHT_PER_DAY * days
        return Suggestion(job, score, tuple(sorted(labels | texts)))


class Pool:
    """The ready jobs that several agents are given from; their rows are locked until the transaction ends.

    It does not lock agents: their rows come after those of jobs (locks.py).
    """

    def __init__(self, agents: Sequence[Agent]) -> None:
        # Of each project's, as many as are looked at for one agent, and those that the others may have taken of them.
        most = CANDIDATES + len(agents)
        scopes = {agent.project_id for agent in agents}
        ids = {scope: list(_ready_in(scope).values_list("pk", flat=True)[:most]) for scope in scopes}
        # Once they are locked, some may not be ready any more.
        jobs = {
            job.pk: job for job in locked_jobs({pk for found in ids.values() for pk in found}).values() if _ready(job)
        }
        self.jobs: Sequence[Job] = list(jobs.values())
        self._scopes = {scope: [jobs[pk] for pk in found if pk in jobs] for scope, found in ids.items()}
        self._taken: set[str] = set()
        self._suits = Suits()

    def best_for(self, agent: Agent) -> Job | None:
        """Return what suggest_jobs() would name first if the jobs that were taken were gone."""
        left = (job for job in self._scopes.get(agent.project_id, []) if job.pk not in self._taken)
        return next((each.job for each in ranked(agent, _allowed(agent, islice(left, CANDIDATES)), self._suits)), None)

    def take(self, job: Job) -> None:
        self._taken.add(job.pk)


def suggest_jobs(agent: Agent, *, count: int = 5) -> list[Suggestion]:
    """Return the jobs that suit an agent best, the best first: by priority, then by specialty and age."""
    ready = _ready_in(agent.project_id).select_related("project")[:CANDIDATES]
    return ranked(agent, _allowed(agent, ready), Suits())[:count]


def _ready_in(project_id: int | None) -> JobQuerySet:
    """Return the jobs that agents of a project may be given, the most urgent first; of no project, those of all."""
    jobs: JobQuerySet = Job.objects.ready().for_agents().by_urgency()
    return jobs.filter(project=project_id) if project_id else jobs


def _ready(job: Job) -> bool:
    return job.status == JobStatus.PENDING and job.decision == Decision.NONE and job.wanted_person_id is None


def _allowed(agent: Agent, jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.wanted_agent_id in (None, agent.pk)]


def ranked(agent: Agent, jobs: Iterable[Job], suits: Suits) -> list[Suggestion]:
    """Return suggestions of these jobs for an agent, the best first."""
    # Stable: of two that are alike, the older one stays first.
    return sorted((suits(job, agent) for job in jobs), key=lambda each: (-rank(each.job), -each.score))


def rank(job: Job) -> int:
    return PRIORITY_RANK[Priority(job.priority)]


def specialty_words(agent: Agent) -> frozenset[str]:
    """Return the words that an agent's role claims for itself."""
    return words(*agent.personality.specialties, *agent.personality.strengths, agent.personality.name)


def words(*texts: str) -> frozenset[str]:
    """Return the telling words of some texts; databases and database are the same."""
    found = _WORD.findall(" ".join(texts).lower())
    return frozenset(word.removesuffix("s") if len(word) > 3 else word for word in found if word not in _DULL)
