"""Take in jobs, what they wait for, and who works or worked on them."""

from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.utils import timezone

from agents.jsonl.jobs import JobLine
from agents.jsonl.lines import JOBS, At
from agents.models import Agent, Assignment, Deliverable, Dependency, Job
from agents.services.transfer.agents import Wishes
from agents.services.transfer.chunks import chunks
from agents.services.transfer.cycles import closing_edges
from agents.services.transfer.report import ImportReport
from agents.states import JOB_DEAD_ENDS, JOB_ENDED, AgentStatus, Decision, JobStatus, Outcome
from agents.transitions import record_imported_agents, record_imported_jobs

J = JobStatus
#: Marks assignments that stand for work in the files, not for runners here.
NOTE = "imported"
WRITTEN = [
    "title", "description", "status", "status_changed_at", "reason", "priority", "labels", "estimated_hours",
    "reported_hours", "wanted_agent", "metadata", "created_at", "updated_at", "ended_at", "decision",
]  # fmt: skip


class JobImport:
    """The jobs of one import. Their statuses are settled when all jobs and edges are in."""

    def __init__(self, report: ImportReport, actor: str) -> None:
        self.report = report
        self.actor = actor
        #: Of each job of the files: where it stood, its status before and in the file, and what it waits for.
        self.lines: dict[str, At] = {}
        self.before: dict[str, str] = {}
        self.wanted: dict[str, JobStatus] = {}
        self.needs: dict[str, list[str]] = {}
        self.assignees: dict[str, str] = {}
        #: Worked on here, by runners or people: these keep their status.
        self.busy: set[str] = set()
        self.now = timezone.now()

    # --- Jobs ---

    def take_in(self, lines: Iterable[tuple[At, JobLine]]) -> None:
        """Write the jobs of these lines."""
        agents = dict(Agent.objects.values_list("name", "pk"))
        for chunk in chunks(lines):
            usable = {line.id: (at, line) for at, line in chunk}
            existing = {job.pk: job for job in Job.objects.select_for_update().filter(pk__in=usable)}
            self._note_busy(existing)
            jobs = [self._job(at, line, existing.get(line.id), agents) for at, line in usable.values()]
            Job.objects.bulk_create(jobs, update_conflicts=True, unique_fields=["id"], update_fields=WRITTEN)
            _write_deliverables({line.id: line.deliverables for _, line in usable.values()})
            self.report.count(JOBS, new=len(usable) - len(existing), updated=len(existing))

    def _note_busy(self, existing: dict[str, Job]) -> None:
        at_work = Assignment.objects.filter(job__in=existing, ended_at__isnull=True)
        self.busy.update(at_work.exclude(note=NOTE, runner__isnull=True).values_list("job_id", flat=True))

    def _job(self, at: At, line: JobLine, existing: Job | None, agents: dict[str, int]) -> Job:
        self.lines[line.id], self.needs[line.id] = at, line.dependencies
        self.before.setdefault(line.id, existing.status if existing else "")
        self.wanted[line.id], self.assignees[line.id] = line.status, line.assignee
        job = existing or Job(id=line.id, created_by=self.actor)
        job.title, job.description, job.priority = line.title, line.description, line.priority
        job.labels, job.estimated_hours, job.reported_hours = line.labels, line.estimated_hours, line.actual_hours
        job.created_at = line.created_at or job.created_at
        job.updated_at = line.updated_at or job.created_at
        job.metadata = {**job.metadata, "assignee": line.assignee} if line.assignee else job.metadata
        if job.wanted_person_id is None:
            job.wanted_agent_id = agents.get(line.assignee) if line.status not in JOB_ENDED else None
        if line.id not in self.busy:
            # Ended, or waiting: who works on what is known only when all jobs are in.
            self._put(job, line.status if line.status in JOB_ENDED else J.PENDING)
        return job

    def _put(self, job: Job, status: JobStatus) -> None:
        if status in JOB_ENDED:
            job.ended_at = job.ended_at or job.updated_at
        else:
            job.ended_at = None
        if job.status != status:
            job.status_changed_at, job.reason = self.now, NOTE
        job.status, job.decision = status, Decision.NONE

    # --- What waits for what ---

    def connect(self) -> None:
        """Write the edges, without those to jobs that are not there and those that close a circle."""
        there = set(Job.objects.values_list("pk", flat=True))
        edges: dict[str, list[str]] = {}
        for job_id, needs in self.needs.items():
            for missing in sorted(set(needs) - there):
                self._complain(job_id, f"there is no job {missing!r} to wait for")
            edges[job_id] = [target for target in needs if target in there]
        others = Dependency.objects.values_list("job_id", "needs_id").iterator()
        kept = (edge for edge in others if edge[0] not in edges)
        for (job_id, target), circle in closing_edges(edges, kept):
            self._complain(job_id, f"it would wait for itself: {' > '.join(circle)}")
            edges[job_id].remove(target)
        for chunk in chunks(edges):
            written = Dependency.objects.filter(job__in=chunk)
            stale = [
                pk for pk, job, target in written.values_list("pk", "job_id", "needs_id") if target not in edges[job]
            ]
            Dependency.objects.filter(pk__in=stale).delete()
            rows = [Dependency(job_id=job_id, needs_id=target) for job_id in chunk for target in edges[job_id]]
            Dependency.objects.bulk_create(rows, ignore_conflicts=True)
        self._block()

    def _block(self) -> None:
        """Block those that wait for something that is not completed; where it never will be, ask for a decision."""
        for chunk in chunks(set(self.needs) - self.busy):
            waiting = Job.objects.filter(pk__in=chunk, status=J.PENDING)
            unmet = Dependency.objects.filter(job__in=waiting).exclude(needs__status=J.COMPLETED)
            dead = unmet.filter(needs__status__in=JOB_DEAD_ENDS).values("job")
            decided = list(dead.values_list("job_id", flat=True))
            blocked = list(unmet.values_list("job_id", flat=True))
            Job.objects.filter(pk__in=blocked).update(status=J.BLOCKED)
            Job.objects.filter(pk__in=decided).update(decision=Decision.DEPENDENCY)

    # --- Who works on what ---

    def give_out(self, wishes: Wishes) -> None:
        """Note who works and who worked on these jobs, and write the history of every status that changed."""
        self._end_imported()
        self._begin({job_id: name for name, (_, job_id) in wishes.current.items()})
        self._note_completed(wishes)
        for chunk in chunks(self.before):
            jobs = Job.objects.filter(pk__in=chunk)
            record_imported_jobs(
                [(job, self.before[job.pk]) for job in jobs if job.status != self.before[job.pk]], actor=self.actor
            )

    def _end_imported(self) -> None:
        """End assignments of an earlier import whose job the files now have elsewhere."""
        over = Assignment.objects.filter(note=NOTE, ended_at__isnull=True, runner__isnull=True).select_related(
            "agent", "job"
        )
        for assignment in over.filter(job__in=self.lines):
            wanted = self.wanted[assignment.job_id]
            if wanted == J.IN_PROGRESS and self.assignees[assignment.job_id] in {"", assignment.worker}:
                Job.objects.filter(pk=assignment.job_id).update(status=J.IN_PROGRESS)
                self.busy.add(assignment.job_id)
                continue
            outcome = Outcome.COMPLETED if wanted == J.COMPLETED else Outcome.RELEASED
            Assignment.objects.filter(pk=assignment.pk).update(outcome=outcome, ended_at=self.now)
            if assignment.agent:
                self._set_agent(assignment.agent, AgentStatus.IDLE)

    def _begin(self, current: dict[str, str]) -> None:
        """Give the jobs in progress to those who have them, where they are free for it."""
        free = {agent.name: agent for agent in Agent.objects.filter(status=AgentStatus.IDLE)}
        people = {person.get_username(): person for person in get_user_model().objects.all()}
        for job_id, status in self.wanted.items():
            if status != J.IN_PROGRESS or job_id in self.busy:
                continue
            name = self.assignees[job_id] or current.get(job_id, "")
            agent, person = free.pop(name, None), people.get(name)
            if agent is None and person is None:
                self._complain(job_id, f"it is in progress, but {name or 'nobody'} is not here to go on: it waits")
                continue
            Assignment.objects.create(
                job_id=job_id, agent=agent, person=None if agent else person, actor=self.actor, note=NOTE
            )
            Job.objects.filter(pk=job_id).update(status=J.IN_PROGRESS, decision=Decision.NONE)
            if agent:
                self._set_agent(agent, AgentStatus.WORKING)

    def _set_agent(self, agent: Agent, status: AgentStatus) -> None:
        start, agent.status, agent.status_changed_at, agent.reason = agent.status, status, self.now, NOTE
        agent.save(update_fields=["status", "status_changed_at", "reason"])
        record_imported_agents([(agent, start)], actor=self.actor)

    def _note_completed(self, wishes: Wishes) -> None:
        """Count the jobs that agents completed there: as assignments, from which their figures follow."""
        agents = dict(Agent.objects.filter(name__in=wishes.completed).values_list("name", "pk"))
        for chunk in chunks(wishes.completed.items(), 500):
            ids = {job_id for _, (_, jobs) in chunk for job_id in jobs}
            ended = dict(Job.objects.filter(pk__in=ids).values_list("pk", "updated_at"))
            known = set(
                Assignment.objects.filter(job__in=ids, outcome=Outcome.COMPLETED).values_list("agent_id", "job_id")
            )
            rows = []
            for name, (at, jobs) in chunk:
                for job_id in dict.fromkeys(jobs):
                    if job_id not in ended:
                        self.report.complaints.add(at.file, at.line, f"there is no job {job_id!r} that it completed")
                    elif (agents[name], job_id) not in known:
                        moment = ended[job_id]
                        rows.append(
                            Assignment(
                                agent_id=agents[name], job_id=job_id, actor=self.actor, note=NOTE,
                                started_at=moment, ended_at=moment, outcome=Outcome.COMPLETED,
                            )
                        )  # fmt: skip
            Assignment.objects.bulk_create(rows)

    def _complain(self, job_id: str, reason: str) -> None:
        at = self.lines[job_id]
        self.report.complaints.add(at.file, at.line, reason)


def _write_deliverables(wanted: dict[str, list[str]]) -> None:
    """Let each job have these deliverables; those that are the same keep their marks."""
    known: dict[str, list[str]] = {}
    for job_id, text in Deliverable.objects.filter(job__in=wanted).values_list("job_id", "text"):
        known.setdefault(job_id, []).append(text)
    changed = {job_id: texts for job_id, texts in wanted.items() if known.get(job_id, []) != [t[:500] for t in texts]}
    Deliverable.objects.filter(job__in=changed).delete()
    Deliverable.objects.bulk_create(
        Deliverable(job_id=job_id, position=position, text=text[:500])
        for job_id, texts in changed.items()
        for position, text in enumerate(texts)
    )
