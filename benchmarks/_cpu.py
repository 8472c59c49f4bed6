"""CPU seconds of processes: unlike the clock, they tell the same on a machine that has other work too."""

import os

import psutil
from django.db import connection


def seconds_of(pid: int | None = None) -> float:
    """Return what a process, this one by default, and its children used since they began."""
    process = psutil.Process(pid or os.getpid())
    return _own(process) + sum(map(_own, process.children(recursive=True)))


def postgres_seconds() -> float:
    """Return what PostgreSQL used, where it runs on this machine; else nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    try:
        parent = psutil.Process(backend).parent()
    except psutil.Error:
        parent = None
    return seconds_of(parent.pid) if parent and parent.name().startswith("postgres") else 0.0


def _own(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0  # it ended since it was listed, and is counted with its parent's children next time
    return float(times.user + times.system + times.children_user + times.children_system)
