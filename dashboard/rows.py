"""What the pages show of a runner, a node or an event, as plain values.

The same values fill the first render on the server and the live updates in the browser (static/js/fill.js): a template
names them, and the browser puts a new value where the template named it.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from dashboard import figures
from dashboard.sentences import sentence
from outbox.models import Entry
from runners.backends import get_backend
from runners.models import Node, Observation, Runner, Session
from runners.states import OCCUPYING, Activity, RunnerStatus

Row = dict[str, Any]

#: Which buttons make sense in which state; the services decide for good.
STOPPABLE = frozenset(
    {RunnerStatus.QUEUED, RunnerStatus.STARTING, RunnerStatus.RUNNING, RunnerStatus.PAUSED, RunnerStatus.UNKNOWN}
)


def runner_row(runner: Runner) -> Row:
    """Return what is shown of one runner; wants project, node, session and observation loaded."""
    return {
        "id": str(runner.pk),
        "name": runner.name,
        "url": reverse("dashboard:runner", args=[runner.pk]),
        "title": title_of(runner),
        "project": runner.project.name,
        "project_url": reverse("dashboard:project", args=[runner.project.name]),
        "node": runner.node.name if runner.node else figures.NONE,
        "backend": runner.backend,
        "model": runner.model,
        "generation": runner.generation,
        "status": runner.status,
        "status_label": RunnerStatus(runner.status).label,
        "reason": runner.reason,
        **about_values(runner),
        "ending": ending_of(runner),
        "pid": str(runner.pid) if runner.pid else figures.NONE,
        "created_at": figures.instant(runner.created_at),
        "changed_at": figures.instant(runner.status_changed_at),
        "started_at": figures.instant(runner.started_at),
        "ended_at": figures.instant(runner.ended_at),
        "elapsed": elapsed_of(runner),
        **session_values(runner.session),
        **observed_values(observation_of(runner), occupying=runner.status in OCCUPYING),
    }


def runner_rows(runners: Iterable[Runner]) -> list[Row]:
    return [runner_row(runner) for runner in runners]


def load_runner_rows(ids: Iterable[UUID | str]) -> list[Row]:
    """Return the rows of these runners, newest first, in one query."""
    return runner_rows(shown_runners().filter(pk__in=list(ids)))


def shown_runners() -> Any:
    """Return runners with everything a row needs, newest first."""
    return Runner.objects.select_related("project", "node", "session", "observation").order_by("-created_at", "-pk")


def observation_of(runner: Runner) -> Observation | None:
    """Return what was last seen of its present attempt, or None."""
    seen: Observation | None = getattr(runner, "observation", None)
    return seen if seen is not None and seen.generation == runner.generation else None


def observed_values(seen: Observation | None, *, occupying: bool) -> Row:
    """Return the heartbeat figures; a runner that ended keeps only how much it wrote."""
    live = seen if occupying else None
    return {
        "cpu": figures.percent(live.cpu_percent if live else None),
        "cpu_percent": round(live.cpu_percent, 1) if live else None,
        "memory": figures.megabytes(live.memory_mb if live else None),
        "processes": str(live.process_count) if live else figures.NONE,
        "output": figures.size(seen.output_bytes if seen else None),
        "observed_at": figures.instant(live.observed_at) if live else None,
    }


def observed_row(values: list[Any]) -> Row:
    """Return the part of a row that one heartbeat of the node agent changes."""
    runner_id, cpu_percent, memory_mb, process_count, output_bytes, observed_at = values
    return {
        "id": str(runner_id),
        "cpu": figures.percent(cpu_percent),
        "cpu_percent": round(cpu_percent, 1),
        "memory": figures.megabytes(memory_mb),
        "processes": str(process_count),
        "output": figures.size(output_bytes),
        "observed_at": observed_at if isinstance(observed_at, str) else figures.instant(observed_at),
    }


def session_values(session: Session | None) -> Row:
    """Return tokens and cost; what no program reported is unknown."""
    known = session is not None and session.total_tokens > 0
    return {
        "session": str(session.pk) if session else None,
        "session_url": reverse("dashboard:session", args=[session.pk]) if session else None,
        "tokens": figures.tokens(session.total_tokens if session and known else None),
        "cost": cost_of(session),
    }


def session_row(session: Session) -> Row:
    """Return what is shown of a session's totals."""
    known = session.total_tokens > 0
    return {
        "id": str(session.pk),
        "messages": session.message_count,
        "tokens": figures.tokens(session.total_tokens if known else None),
        "cost": cost_of(session),
        "last_message_at": figures.instant(session.last_message_at),
        "goes_on": _goes_on(session),
    }


def _goes_on(session: Session) -> bool:
    known = session.backend in settings.RUNNER_BACKENDS
    return known and session.message_count > 0 and get_backend(session.backend).goes_on


def cost_of(session: Session | None) -> str:
    if session is None:
        return figures.UNKNOWN
    return figures.dollars(session.cost_usd, complete=session.cost_source != "unknown")


def title_of(runner: Runner) -> str:
    """Return what the runner is for, in one line: its prompt, or its command."""
    text = runner.prompt.strip() or " ".join(runner.argv)
    return text.splitlines()[0][:160] if text else ""


def about_values(runner: Runner) -> Row:
    """Return what it waits for, if it does, and until when."""
    seen = observation_of(runner)
    about, until = "", None
    if runner.restart_at is not None:
        about, until = "starts again in", runner.restart_at
    elif seen is not None and runner.status in OCCUPYING:
        if seen.activity == Activity.NEEDS_APPROVAL:
            about = "needs approval"
        elif seen.activity == Activity.RATE_LIMITED:
            about, until = "rate limited", seen.activity_until
    return {"about": about, "about_until": figures.instant(until)}


def ending_of(runner: Runner) -> str:
    """Return how the process ended: a signal says more than the code made of it."""
    if runner.exit_signal:
        return f"signal {runner.exit_signal}"
    return "" if runner.exit_code is None else f"exit code {runner.exit_code}"


def elapsed_of(runner: Runner) -> str:
    if runner.started_at is None:
        return figures.NONE
    return figures.seconds(((runner.ended_at or timezone.now()) - runner.started_at).total_seconds())


def node_row(node: Node) -> Row:
    """Return what is shown of one node; wants with_occupied()."""
    occupied = int(getattr(node, "occupied", 0))
    return {
        "id": node.name,
        "name": node.name,
        "hostname": node.hostname,
        "status": node.status,
        "status_label": node.get_status_display(),
        "occupied": occupied,
        "slots": node.slots,
        "places": f"{occupied} of {node.slots}",
        "load": min(round(100 * occupied / node.slots), 100) if node.slots else 0,
        "seen_at": figures.instant(node.last_seen_at),
        "url": f"{reverse('dashboard:runners')}?node={node.name}",
    }


def load_node_rows() -> list[Row]:
    return [node_row(node) for node in Node.objects.with_occupied().order_by("name")]


def _subject_page(data: Mapping[str, Any]) -> str:
    """Return the address of what an event is about."""
    if data.get("job_id") and not data.get("agent_id"):
        return reverse("dashboard:job", args=[data["job_id"]])
    if data.get("agent_id") and data.get("name"):
        return reverse("dashboard:agent", args=[data["name"]])
    for name in ("runner", "operation"):
        if data.get(f"{name}_id"):
            return reverse(f"dashboard:{name}", args=[data[f"{name}_id"]])
    return reverse("dashboard:events")


def _who(entry: Entry) -> str:
    """Return what the sentence of an event is about: of a todo or clock it is whose it is."""
    named = ("name", "agent", "title", "worker", "project", "node", "verb", "label", "description", "host")
    return next((str(entry.data[name]) for name in named if entry.data.get(name)), entry.subject)


def event_row(entry: Entry) -> Row:
    """Return an event as a line of the feed."""
    data = entry.data
    runner_id = data.get("runner_id")
    return {
        "id": str(entry.sequence),
        "sequence": entry.sequence,
        "type": entry.type,
        "status": data.get("status") or "event",
        "who": _who(entry),
        "text": sentence(entry.type, data),
        "project": data.get("project") or "",
        "actor": data.get("actor") or "",
        "runner": runner_id,
        "operation": data.get("operation_id"),
        "url": _subject_page(data),
        "at": figures.instant(entry.created_at),
    }
