"""Measure CPU and memory of whole process trees, all runners in one pass over the process table."""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import psutil

from runners.shim import group

MB = 1024 * 1024


@dataclass(frozen=True)
class Tree:
    """What a process tree uses; the process at its root (the shim) is not counted."""

    cpu_percent: float
    memory_mb: float
    process_count: int


@dataclass
class Meter:
    """Measures trees again and again; CPU is the share of one core used since the last measurement."""

    _cpu_seconds: dict[tuple[int, float], float] = field(default_factory=dict)
    _group_seconds: dict[str, float] = field(default_factory=dict)
    _measured_at: float = 0.0

    def measure(
        self, roots: Iterable[int], including: Collection[int] = (), groups: Mapping[int, str] = MappingProxyType({})
    ) -> dict[int, Tree]:
        """Return the tree below each root pid; `including` the root itself for some.

        `groups`: control groups of some; the kernel's count is of all that ran in it, and what is shared counts once.
        """
        now = time.monotonic()
        elapsed = now - self._measured_at if self._measured_at else 0.0
        table = _process_table()
        children = _children(table)
        seconds: dict[tuple[int, float], float] = {}
        trees = {}
        for root in roots:
            itself = [root] if root in including and root in table else []
            trees[root] = self._tree(itself + _below(root, children), table, elapsed, seconds)
        told = {path: _cpu_of_group(path) for path in groups.values()}
        for root, path in groups.items():
            trees[root] = self._as_told(trees[root], path, told[path], elapsed)
        self._cpu_seconds, self._group_seconds, self._measured_at = seconds, told, now
        return trees

    def _as_told(self, tree: Tree, path: str, cpu_seconds: float, elapsed: float) -> Tree:
        if cpu_seconds and elapsed:
            used = cpu_seconds - self._group_seconds.get(path, cpu_seconds)
            tree = replace(tree, cpu_percent=round(100 * used / elapsed, 1))
        if memory := _memory_of_group(path):
            tree = replace(tree, memory_mb=round(memory / MB, 1))
        return tree

    def _tree(
        self, pids: list[int], table: Mapping[int, "_Row"], elapsed: float, seconds: dict[tuple[int, float], float]
    ) -> Tree:
        used = 0.0
        for pid in pids:
            row = table[pid]
            # A pid alone may be another process by now: with its start time it is not.
            key = (pid, row.started)
            seconds[key] = row.cpu_seconds
            used += row.cpu_seconds - self._cpu_seconds.get(key, 0.0 if elapsed else row.cpu_seconds)
        return Tree(
            cpu_percent=round(100 * used / elapsed, 1) if elapsed else 0.0,
            memory_mb=round(sum(table[pid].memory_bytes for pid in pids) / MB, 1),
            process_count=len(pids),
        )


@dataclass(frozen=True)
class _Row:
    parent: int
    started: float
    cpu_seconds: float
    memory_bytes: int


def _cpu_of_group(path: str) -> float:
    return group.counts(f"{path}/cpu.stat").get("usage_usec", 0) / 1e6


def _memory_of_group(path: str) -> int:
    """Return the bytes in use, without page cache that is given back first; 0 where nothing is told."""
    used = group.number(f"{path}/memory.current") or 0
    idle = group.counts(f"{path}/memory.stat").get("inactive_file", 0) if used else 0
    return max(used - idle, 0)


def _process_table() -> dict[int, _Row]:
    table = {}
    for process in psutil.process_iter(["ppid", "create_time", "cpu_times", "memory_info"]):
        info = process.info
        if info["cpu_times"] is None or info["memory_info"] is None:
            continue  # it ended while it was read
        spent = info["cpu_times"].user + info["cpu_times"].system
        table[process.pid] = _Row(info["ppid"], info["create_time"], spent, info["memory_info"].rss)
    return table


def _children(table: Mapping[int, _Row]) -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for pid, row in table.items():
        children.setdefault(row.parent, []).append(pid)
    return children


def _below(root: int, children: Mapping[int, list[int]]) -> list[int]:
    found: list[int] = []
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(children.get(pid, ()))
    return found
