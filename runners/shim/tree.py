"""What a tree of processes uses: found by walking their children, so that a busy machine costs nothing more."""

import os

from runners.shim import identity

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MB = 1024 * 1024


class Used:
    """CPU and memory of a process tree. What ended and was waited for within it is part of its CPU."""

    __slots__ = ("cpu_seconds", "memory_mb", "processes")

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self.memory_mb = 0.0
        self.processes = 0


def measure(pids: list[int]) -> Used:
    """Return what these processes use. Memory that several of them share counts several times."""
    used = Used()
    for pid in pids:
        used_by = _stat(pid)
        if used_by is None:
            continue
        state, ticks, pages = used_by
        used.cpu_seconds += ticks / TICKS
        used.memory_mb += pages * PAGE_BYTES / MB
        used.processes += state not in (b"Z", b"X")
    return used


def proportional_memory_mb(pids: list[int]) -> float:
    """Return the memory of these processes, with what they share counted once. Reads page tables: costly."""
    return sum(_pss_kb(pid) for pid in pids) / 1024


def below(root: int) -> list[int]:
    """Return the pids of all descendants, the dead that nobody has waited for included."""
    if _children(os.getpid()) is None:
        # A kernel built without CONFIG_PROC_CHILDREN.
        return [process.pid for process in identity.descendants(root, identity.table())]
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = _children(waiting.pop()) or []
        found += children
        waiting += children
    return found


def _children(pid: int) -> list[int] | None:
    """Return the children of all threads of a process; None where the kernel does not tell."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []
    found: list[int] = []
    for thread in threads:
        data = identity.read(f"/proc/{pid}/task/{thread}/children")
        if data is None:
            if os.path.exists(f"/proc/{pid}/task/{thread}"):
                return None
            continue
        found += [int(child) for child in data.split()]
    return found


def _stat(pid: int) -> tuple[bytes, int, int] | None:
    """Return state, CPU ticks (those of its waited-for children too) and resident pages of a process."""
    data = identity.read(f"/proc/{pid}/stat")
    if not data:
        return None
    # The name in parentheses may hold anything: fields are counted from its end. See proc_pid_stat(5).
    fields = data[data.rindex(b")") + 2 :].split(b" ", 22)
    return fields[0], sum(int(field) for field in fields[11:15]), int(fields[21])


def _pss_kb(pid: int) -> int:
    data = identity.read(f"/proc/{pid}/smaps_rollup")
    if data and (start := data.find(b"\nPss:")) >= 0:
        return int(data[start + 5 :].split(None, 1)[0])
    # Gone, or not ours to look into: it took another user's rights.
    used_by = _stat(pid)
    return used_by[2] * PAGE_BYTES // 1024 if used_by else 0
