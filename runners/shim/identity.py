"""Who a process is: boot id, pid and start time together; a pid alone is reused. And signals that hit nobody else."""

import os
import signal

_boot_id = ""


def boot_id() -> str:
    """Return the id the kernel gave this boot."""
    global _boot_id
    if not _boot_id:
        with open("/proc/sys/kernel/random/boot_id") as file:
            _boot_id = file.read().strip()
    return _boot_id


class Process:
    """One line of the process table. `start_ticks` is the start time in clock ticks since boot."""

    __slots__ = ("group", "parent", "pid", "session", "start_ticks", "state")

    def __init__(self, pid: int, stat: bytes) -> None:
        # The name in parentheses may hold anything, blanks and parentheses too: fields are counted from its end.
        fields = stat[stat.rindex(b")") + 2 :].split(b" ", 20)
        self.pid = pid
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.start_ticks = int(fields[19])

    @property
    def is_dead(self) -> bool:
        """A zombie has ended; only its parent has not asked yet."""
        return self.state in "ZX"

    def signal(self, number: int) -> bool:
        """Send a signal to exactly this process; return False if it is no longer there."""
        return send(self.pid, self.start_ticks, number)


def look(pid: int) -> Process | None:
    """Return the process with this pid, or None."""
    data = read(f"/proc/{pid}/stat")
    return Process(pid, data) if data else None


def start_ticks(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot; None if there is none."""
    process = look(pid)
    return process.start_ticks if process else None


def table() -> dict[int, Process]:
    """Return all processes this user may see."""
    processes = (look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {process.pid: process for process in processes if process}


def is_alive(boot: str, pid: int, ticks: int) -> bool:
    """Say whether the process known by these three still runs."""
    process = look(pid) if boot == boot_id() else None
    return process is not None and process.start_ticks == ticks and not process.is_dead


def send(pid: int, ticks: int, number: int) -> bool:
    """Send a signal to the process with this pid and start time; return False if it is gone.

    The pidfd pins whatever has the pid now; the start time is compared after that. The other order could hit a
    successor.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if start_ticks(pid) != ticks:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def descendants(root: int, processes: dict[int, Process]) -> list[Process]:
    """Return the living processes below `root`, parents first."""
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    level = children.get(root, [])
    while level:
        found += level
        level = [child for process in level for child in children.get(process.pid, [])]
    return [process for process in found if not process.is_dead]


def children_of_self() -> list[int]:
    """Return the pids of this process's children, zombies included. This process must have one thread."""
    data = read(f"/proc/self/task/{os.getpid()}/children")
    if data is not None:
        return [int(pid) for pid in data.split()]
    # A kernel built without CONFIG_PROC_CHILDREN.
    return [process.pid for process in table().values() if process.parent == os.getpid()]


def is_marked(pid: int, runner_id: str, generation: int) -> bool:
    """Say whether the process was given the environment of this attempt."""
    data = read(f"/proc/{pid}/environ")
    if not data:
        return False
    words = data.split(b"\0")
    return (
        f"STRATAVORE_RUNNER_ID={runner_id}".encode() in words
        and f"STRATAVORE_GENERATION={generation}".encode() in words
    )


def read(path: str) -> bytes | None:
    """Return what a file of /proc holds; None if the process is gone, or it is not ours to read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
