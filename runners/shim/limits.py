"""The watch that holds an agent and all its processes to their limits. It survives whatever is above it.

Of the limits in spec.json, `open_files` is the kernel's (RLIMIT_NOFILE), and `memory_mb` where the agent has a control
group with that controller; the others are held here.
"""

import time
from collections.abc import Callable, Mapping

from runners.shim import tree
from runners.shim.ending import Ending
from runners.shim.group import Group
from runners.shim.loop import Loop
from runners.shim.spool import Spool

#: The exit record's reason for each limit.
REASONS = {
    "memory_mb": "memory",
    "cpu_seconds": "cpu",
    "wall_seconds": "wall clock",
    "idle_seconds": "stalled",
    "output_mb": "output",
    "processes": "processes",
}
#: Those that need a look at the processes.
MEASURED = ("memory_mb", "cpu_seconds", "processes")
#: What grows while we look away is killed at once; what only took too long may end by itself, and save its state.
SUDDEN = frozenset({"memory_mb", "output_mb", "processes"})
#: A look takes about 0.1 ms for three processes.
LOOK_SECONDS = 1.0
#: Over half of a limit more often: memory fills at gigabytes a second, and a fork bomb doubles in milliseconds.
NEAR_LOOK_SECONDS = 0.1
MB = 1024 * 1024


def limits_of(spec: Mapping[str, object]) -> dict[str, float]:
    """Return the limits of a spec.json that are held here."""
    given = spec.get("limits")
    named = given.items() if isinstance(given, dict) else ()
    return {name: value for name, value in named if name in REASONS and isinstance(value, int | float) and value > 0}


class Watch:
    """Ends the agent when it goes past a limit, with the reason; without limits it never wakes up."""

    def __init__(
        self,
        loop: Loop,
        spool: Spool,
        ending: Ending,
        processes: Callable[[], list[int]],
        limits: Mapping[str, float],
        grace_seconds: float,
        group: Group | None = None,
    ) -> None:
        self._loop = loop
        self._spool = spool
        self._ending = ending
        #: Returns the pids of the agent and all that came of it.
        self._processes = processes
        self._limits = limits
        self._grace_seconds = grace_seconds
        self._group = group
        self._measured = [name for name in MEASURED if name in limits]
        self._cpu_seconds = 0.0

    def begin(self) -> None:
        """Watch from now on."""
        limits = self._limits
        if "wall_seconds" in limits:
            seconds = limits["wall_seconds"]
            self._loop.after("wall clock", seconds, lambda: self._exceeded("wall_seconds", f"{seconds:g} s are over"))
        if "idle_seconds" in limits:
            self._listen()
        if "output_mb" in limits:
            self._spool.limit(int(limits["output_mb"] * MB), self._too_much_output)
        if self._measured:
            # Soon for the first time: a fork bomb may be all it does.
            self._loop.after("limits", NEAR_LOOK_SECONDS, self._look)

    def _exceeded(self, name: str, detail: str) -> None:
        if self._ending.gone:
            return
        if name in SUDDEN:
            self._ending.kill(detail, verdict=REASONS[name])
        else:
            self._ending.stop(self._grace_seconds, detail, verdict=REASONS[name])

    def _too_much_output(self) -> None:
        self._exceeded("output_mb", f"more than {self._limits['output_mb']:g} MB")

    def _listen(self) -> None:
        """See how long it has been silent; a paused agent is not asked to speak."""
        if self._ending.gone:
            return
        patience = self._limits["idle_seconds"]
        silent = 0.0 if self._ending.paused else time.monotonic() - self._spool.wrote_at
        if silent >= patience:
            self._exceeded("idle_seconds", f"no output for {patience:g} s")
        else:
            self._loop.after("silence", patience - silent, self._listen)

    def _look(self) -> None:
        if self._ending.gone:
            return
        # Before anything is measured: that takes long where a fork bomb is at work.
        if self._kernel_held():
            return
        pids = self._processes()
        values = self._values(pids)
        for name in self._measured:
            if values[name] > self._limits[name]:
                self._judge(name, values[name], pids)
        near = any(values[name] > self._limits[name] / 2 for name in self._measured)
        self._loop.after("limits", NEAR_LOOK_SECONDS if near else LOOK_SECONDS, self._look)

    def _kernel_held(self) -> bool:
        """Act on what the kernel says of its own limits; return whether one was met."""
        if self._group is None:
            return False
        if "processes" in self._limits and self._group.refused_forks:
            self._exceeded("processes", f"forks were refused, of {self._limits['processes']:g}")
        elif "memory_mb" in self._limits and self._group.memory_kills:
            self._exceeded("memory_mb", "the kernel killed it for want of memory")
        else:
            return False
        return True

    def _values(self, pids: list[int]) -> dict[str, float]:
        used = tree.measure(pids)
        # Never less than it was: a child whose parent does not wait for it takes its CPU time along.
        reaped = self._ending.usage
        self._cpu_seconds = max(self._cpu_seconds, used.cpu_seconds + reaped.utime + reaped.stime)
        values = {"memory_mb": used.memory_mb, "cpu_seconds": self._cpu_seconds, "processes": float(used.processes)}
        if self._group is None:
            return values
        if told := self._group.cpu_seconds:
            # Also of those whose parent did not wait.
            values["cpu_seconds"] = told
        if "memory_mb" in self._group.holds:
            # Reclaimed before it is refused: nothing to judge until the kernel has killed.
            values["memory_mb"] = 0.0
        return values

    def _judge(self, name: str, value: float, pids: list[int]) -> None:
        limit = self._limits[name]
        if name == "memory_mb":
            # Forks share most of their memory: what is shared counts once before anybody is killed for it.
            value = tree.proportional_memory_mb(pids)
            if value > limit:
                self._exceeded(name, f"{value:.0f} MB of {limit:g} MB")
        elif name == "cpu_seconds":
            self._exceeded(name, f"{value:.0f} s of {limit:g} s")
        else:
            self._exceeded(name, f"{value:.0f} of {limit:g}")
