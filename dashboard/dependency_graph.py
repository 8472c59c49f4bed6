"""What a job waits for, and what waits for it, laid out in layers for an SVG that the server renders."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from agents.models import Dependency, Job

#: Steps each way, and jobs in all: more is no longer read as a drawing.
STEPS = 4
MOST_JOBS = 60
NODE_WIDTH, NODE_HEIGHT = 196, 46
GAP_ACROSS, GAP_DOWN = 54, 14
MARGIN = 8
#: Letters of a title that fit in a node of that width at 12 px.
LETTERS = 28

Edge = tuple[str, str]


@dataclass(frozen=True)
class Node:
    """One job. Lengths are in the units of the SVG."""

    id: str
    title: str
    status: str
    status_label: str
    x: float
    y: float
    url: str
    is_subject: bool
    width: int = NODE_WIDTH
    height: int = NODE_HEIGHT


@dataclass(frozen=True)
class Graph:
    nodes: list[Node]
    #: Each an SVG path from what is needed to what waits for it, and whether it is still waited for.
    paths: list[tuple[str, bool]]
    width: float
    height: float
    #: There are jobs further away that are not drawn.
    cut: bool


def graph_of(job: Job) -> Graph | None:
    """Return the drawing of a job's neighbourhood, or None if it stands alone. At most 2 * STEPS + 1 queries."""
    needs, cut_before = _walk(job.pk, "job_id", "needs_id")
    dependents, cut_after = _walk(job.pk, "needs_id", "job_id")
    edges = sorted(needs | dependents)
    if not edges:
        return None
    names = {name for edge in edges for name in edge}
    jobs = {each.pk: each for each in Job.objects.filter(pk__in=names).only("id", "title", "status")}
    return _drawn(job.pk, jobs, edges, cut=cut_before or cut_after)


def _walk(start: str, here: str, there: str) -> tuple[set[Edge], bool]:
    """Return the edges (job, needs) within STEPS of `start` in one direction, and whether there are more."""
    edges: set[Edge] = set()
    seen, frontier = {start}, [start]
    for _ in range(STEPS):
        found = list(Dependency.objects.filter(**{f"{here}__in": frontier}).values_list("job_id", "needs_id", there))
        reached = sorted({far for _, _, far in found} - seen)
        kept = set(reached[: MOST_JOBS // 2 - len(seen)])
        edges |= {(job, needs) for job, needs, far in found if far in seen | kept}
        seen |= kept
        if len(kept) < len(reached):
            return edges, True
        frontier = sorted(kept)
        if not frontier:
            return edges, False
    return edges, Dependency.objects.filter(**{f"{here}__in": frontier}).exists()


def _layers(names: Iterable[str], edges: list[Edge]) -> dict[str, int]:
    """Return how far right each job stands: past everything it needs."""
    layers = dict.fromkeys(names, 0)
    for _ in layers:  # as many passes as a longest path may have steps
        moved = False
        for job, needs in edges:
            if layers[job] <= layers[needs]:
                layers[job], moved = layers[needs] + 1, True
        if not moved:
            break
    return layers


def _drawn(subject: str, jobs: dict[str, Job], edges: list[Edge], *, cut: bool) -> Graph:
    places = _places(_layers(jobs, edges), edges)
    nodes = [_node(job, places[pk], is_subject=pk == subject) for pk, job in sorted(jobs.items())]
    return Graph(
        nodes=nodes,
        paths=[(_path(places[needs], places[job]), jobs[needs].status != "completed") for job, needs in edges],
        width=max(x for x, _ in places.values()) + NODE_WIDTH + MARGIN,
        height=max(y for _, y in places.values()) + NODE_HEIGHT + MARGIN,
        cut=cut,
    )


def _places(layers: dict[str, int], edges: list[Edge]) -> dict[str, tuple[float, float]]:
    """Return each job's corner: layers from left to right, each as near to what it needs as there is room."""
    columns: dict[int, list[str]] = {}
    for name, layer in sorted(layers.items()):
        columns.setdefault(layer, []).append(name)
    step = NODE_HEIGHT + GAP_DOWN
    tallest = max(map(len, columns.values())) * step
    places: dict[str, tuple[float, float]] = {}
    for layer, names in sorted(columns.items()):
        names.sort(key=lambda name: _mean(places[needs][1] for job, needs in edges if job == name and needs in places))
        top = MARGIN + (tallest - len(names) * step) / 2
        for row, name in enumerate(names):
            places[name] = (MARGIN + layer * (NODE_WIDTH + GAP_ACROSS), top + row * step)
    return places


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def _path(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1 = start[0] + NODE_WIDTH, start[1] + NODE_HEIGHT / 2
    x2, y2 = end[0], end[1] + NODE_HEIGHT / 2
    bend = (x2 - x1) / 2
    return f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2 - 6:g} {y2:g}"


def _node(job: Any, place: tuple[float, float], *, is_subject: bool) -> Node:
    title = job.title if len(job.title) <= LETTERS else f"{job.title[: LETTERS - 1].rstrip()}…"
    address = reverse("dashboard:job", args=[job.pk])
    return Node(job.pk, title, job.status, job.get_status_display(), *place, url=address, is_subject=is_subject)
