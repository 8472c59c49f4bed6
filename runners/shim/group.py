"""The control group (cgroup v2) of one attempt, where this node may make one: what the kernel holds, counts and kills.

A node without one, with cgroup v1 only, or with a part of it goes on as ever: the watch measures, signals end. The shim
itself stays outside, so that neither a limit nor a kill reaches it.
"""

import contextlib
import ctypes
import os
import signal
import time
from typing import Optional

from runners.shim import rundir
from runners.shim.spool import log

#: With systemd's DelegateSubgroup= the service's own processes are here, and groups are made beside it: a group that
#: has processes of its own may give its controllers to none below.
SUBGROUP = "node"
PREFIX = "stratavore-"
#: Those that limits need; CPU time is counted in every group.
CONTROLLERS = ("memory", "pids")
#: pids.max counts threads, of which agent programs have dozens in a process: it only stops a fork bomb. What counts
#: processes, and ends them, is the watch.
TASKS_PER_PROCESS = 64
MB = 1024 * 1024

CLONE_INTO_CGROUP = 0x200000000
SYS_CLONE3 = 435  # the same on all architectures
#: Keeps the interpreter's lock, which the child will hold too.
_libc = ctypes.PyDLL(None, use_errno=True)


class _CloneArguments(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
            "set_tid_size", "cgroup",
        )
    ]  # fmt: skip


class Group:
    """One group, made for one attempt."""

    def __init__(self, path: str) -> None:
        self.path = path
        #: The limits that the kernel holds.
        self.holds: frozenset[str] = frozenset()
        self._fd = -1

    @classmethod
    def make(cls, name: str, setting: str, limits: dict[str, float]) -> Optional["Group"]:
        """Make the group of an attempt with these limits; None where groups cannot be made here."""
        parent = place(setting)
        if parent is None:
            return None
        group = cls(os.path.join(parent, PREFIX + name))
        try:
            _offer_controllers(parent)
            with contextlib.suppress(FileExistsError):
                os.mkdir(group.path)
            group._fd = os.open(group.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            log(f"No control group: {error}")
            return None
        group._limit(limits)
        return group

    def _limit(self, limits: dict[str, float]) -> None:
        held = set()
        if "memory_mb" in limits and self._write("memory.max", str(int(limits["memory_mb"] * MB))):
            held.add("memory_mb")
            # All of it or nothing: an agent without one of its processes is no agent. And none of it on the swap.
            self._write("memory.oom.group", "1")
            self._write("memory.swap.max", "0")
        if "processes" in limits:
            self._write("pids.max", str(int(limits["processes"]) * TASKS_PER_PROCESS))
        self.holds = frozenset(held)

    # --- Its processes ---

    def fork(self) -> int:
        """Fork a process that is in the group from its first moment; where the kernel cannot, moved into it."""
        arguments = _CloneArguments(flags=CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=self._fd)
        # To move one costs the kernel a grace period: 25 ms here, against 0.1.
        pid = int(_libc.syscall(SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))
        if pid >= 0:
            return pid
        log(f"Forked outside of the control group: {os.strerror(ctypes.get_errno())}")
        pid = os.fork()
        if pid and not self._write("cgroup.procs", str(pid)):
            self.holds = frozenset()
        return pid

    def pids(self) -> list[int]:
        """Return the processes in it and in the groups that they made below."""
        found: list[int] = []
        for directory, _, _ in os.walk(self.path):
            with contextlib.suppress(OSError), open(os.path.join(directory, "cgroup.procs")) as file:
                found += [int(line) for line in file]
        # 0: of a namespace that we do not see into.
        return [pid for pid in found if pid]

    def kill(self) -> None:
        """Kill all that is in it at once, forks under way included (Linux 5.14)."""
        self._write("cgroup.kill", "1")

    @property
    def is_populated(self) -> bool:
        """Say whether a process lives in it or below it."""
        return self._counts("cgroup.events").get("populated", 0) > 0

    def end(self, seconds: float) -> None:
        """Kill all that is in it, wait for their end for at most so long, and remove it."""
        deadline = time.monotonic() + seconds
        while self.is_populated and time.monotonic() < deadline:
            self.kill()
            time.sleep(0.01)
        self.remove()

    def remove(self) -> None:
        """Remove it, with what its processes made below it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        remove(self.path)

    # --- What the kernel counts ---

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all that ever ran in it; 0 if it is not told."""
        return self._counts("cpu.stat").get("usage_usec", 0) / 1e6

    @property
    def memory_kills(self) -> int:
        """How many of its processes the kernel killed for want of memory."""
        return self._counts("memory.events").get("oom_kill", 0)

    @property
    def refused_forks(self) -> int:
        """How many forks the kernel refused."""
        return self._counts("pids.events").get("max", 0)

    def _counts(self, name: str) -> dict[str, int]:
        return counts(os.path.join(self.path, name))

    def _write(self, name: str, text: str) -> bool:
        """Write one of its files; False where there is no such file, or the kernel refuses."""
        try:
            fd = os.open(os.path.join(self.path, name), os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            rundir.write_all(fd, text.encode())
        except OSError as error:
            log(f"{name} was not written: {error}")
            return False
        finally:
            os.close(fd)
        return True


def counts(path: str) -> dict[str, int]:
    """Return a file of `name number` lines; empty where it cannot be read."""
    try:
        with open(path) as file:
            return {name: int(value) for name, value in (line.split() for line in file)}
    except (OSError, ValueError):
        return {}


def number(path: str) -> int | None:
    """Return the number in a file; None where there is none."""
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def remove(path: str) -> None:
    """Remove a group and those below it; one with a process in it stays, and is told."""
    for directory, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(directory)
        except OSError as error:
            log(f"A control group stays: {error}")


def sweep(setting: str, older_than_seconds: float = 60.0) -> list[str]:
    """Remove the empty groups that killed shims left; return their names. A younger one may be about to be used."""
    parent = place(setting)
    removed = []
    for entry in os.scandir(parent) if parent else ():
        if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
            continue
        with contextlib.suppress(OSError):  # gone meanwhile, or used again
            if time.time() - entry.stat().st_ctime > older_than_seconds and not Group(entry.path).is_populated:
                for directory, _, _ in os.walk(entry.path, topdown=False):
                    os.rmdir(directory)
                removed.append(entry.name)
    return removed


# --- Where groups may be made ---


def place(setting: str) -> str | None:
    """Return the group below which groups may be made: the one in the settings, else one that was delegated to us."""
    if setting == "none":
        return None
    if setting:
        return setting if _may_write(setting) else None
    own = own_group()
    if own is None:
        return None
    path, mount = own
    if os.path.basename(path) == SUBGROUP and _is_delegated(os.path.dirname(path), mount):
        return os.path.dirname(path)
    return path if _is_delegated(path, mount) else None


def own_group(groups: str = "/proc/self/cgroup", mounts: str = "/proc/self/mountinfo") -> tuple[str, str] | None:
    """Return the directory of our own group and where its hierarchy is mounted; None without cgroup v2."""
    try:
        with open(groups) as file:
            path = next((line.rstrip("\n")[3:] for line in file if line.startswith("0::")), None)
        with open(mounts) as file:
            found = [_mounted(line) for line in file if " - cgroup2 " in line]
    except OSError:
        return None
    if path is None or path.endswith(" (deleted)") or "/.." in path:
        return None
    for root, mount in found:
        below = os.path.relpath(path, root)
        if not below.startswith(".."):
            return os.path.normpath(os.path.join(mount, below)), mount
    return None


def _mounted(line: str) -> tuple[str, str]:
    """Return root and mount point of a line of mountinfo: see proc_pid_mountinfo(5)."""
    root, mount = line.split(" ", 5)[3:5]
    return root, mount.replace("\\040", " ")


def _is_delegated(path: str, mount: str) -> bool:
    """Say whether groups below this one are ours to make: systemd's word for root, who may write everywhere."""
    if not _may_write(path):
        return False
    if os.geteuid() or path == mount:
        return True
    try:
        return os.getxattr(path, "trusted.delegate") == b"1"
    except OSError:
        return False


def _may_write(path: str) -> bool:
    # A process is moved by whoever may write to the first group above both places.
    return os.access(path, os.W_OK) and os.access(os.path.join(path, "cgroup.procs"), os.W_OK)


def _offer_controllers(parent: str) -> None:
    """Let groups below have the controllers; refused (EBUSY) where the group has processes of its own."""
    control = os.path.join(parent, "cgroup.subtree_control")
    try:
        with open(os.path.join(parent, "cgroup.controllers")) as file:
            there = file.read().split()
        with open(control) as file:
            offered = file.read().split()
    except OSError:
        return
    for name in CONTROLLERS:
        if name in there and name not in offered:
            with contextlib.suppress(OSError), open(control, "w") as file:
                file.write(f"+{name}")


def means(setting: str) -> dict[str, object]:
    """Return what groups can do here, by making one: {path, controllers, kill}; empty where there are none."""
    group = Group.make(f"probe-{os.getpid()}", setting, {})
    if group is None:
        return {}
    try:
        controllers = [name for name in CONTROLLERS if os.path.exists(os.path.join(group.path, f"{name}.max"))]
        kill = os.path.exists(os.path.join(group.path, "cgroup.kill"))
        return {"path": os.path.dirname(group.path), "controllers": controllers, "kill": kill}
    finally:
        group.remove()
