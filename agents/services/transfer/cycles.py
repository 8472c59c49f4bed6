"""Circles among very many edges, in one walk over all of them."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

Edge = tuple[str, str]


def closing_edges(edges: Mapping[str, list[str]], others: Iterable[Edge]) -> Iterator[tuple[Edge, list[str]]]:
    """Yield edges of `edges` without which no circle is left, each with a circle that it closes.

    `others` are edges that stay whatever comes; among themselves they close no circle. Depth first, without recursion:
    a chain may be as long as there are jobs.
    """
    graph: dict[str, list[tuple[str, bool]]] = {}
    for job, needs in others:
        graph.setdefault(job, []).append((needs, False))
    for job, targets in edges.items():
        graph.setdefault(job, []).extend((target, True) for target in targets)
    done: set[str] = set()
    for start in graph:
        if start not in done:
            yield from _walk(start, graph, done)


def _walk(start: str, graph: Mapping[str, list[tuple[str, bool]]], done: set[str]) -> Iterator[tuple[Edge, list[str]]]:
    path, on_path = [start], {start: 0}
    ways = [iter(graph.get(start, ()))]
    while path:
        step = next(ways[-1], None)
        if step is None:
            here = path.pop()
            del on_path[here]
            done.add(here)
            ways.pop()
            continue
        target, is_ours = step
        if target in on_path:
            circle = [*path[on_path[target] :], target]
            yield (path[-1], target) if is_ours else _ours(circle, graph), circle
        elif target not in done:
            on_path[target] = len(path)
            path.append(target)
            ways.append(iter(graph.get(target, ())))


def _ours(circle: list[str], graph: Mapping[str, list[tuple[str, bool]]]) -> Edge:
    """Return an edge of the circle that may go. There is one: the others close none among themselves."""
    return next(edge for edge in pairwise(circle) if (edge[1], True) in graph[edge[0]])
