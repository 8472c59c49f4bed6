"""How an agent ends: asked, told, killed; everything it left behind found and killed; and then what is known of it."""

import os
import signal
import time
from collections.abc import Callable

from runners.shim import identity, stand_in
from runners.shim.group import Group
from runners.shim.loop import Loop
from runners.shim.spool import Spool, log

#: SIGTERM follows SIGINT after half the grace period, but not later than this.
TERM_AFTER_SECONDS = 5.0
#: What an agent that ended by itself left running gets SIGTERM, and SIGKILL this much later.
LEFTOVER_GRACE_SECONDS = 0.5
#: After SIGKILL only the kernel can hold a process; then the exit is recorded without it.
UNKILLABLE_SECONDS = 10.0
#: Descendants are killed one by one at first; those still there after this long are killed group by group.
ONE_BY_ONE_SECONDS = 0.1
#: The process table is no snapshot: whoever forks and ends while it is read may be missed. "None left" is asked twice.
SECOND_LOOK_SECONDS = 0.01


class Death:
    """How the agent's process ended."""

    __slots__ = ("at", "code", "signal")

    def __init__(self, code: int | None, number: int | None) -> None:
        self.code = code
        self.signal = number
        self.at = time.monotonic()


class Usage:
    """CPU and memory of all that was reaped: the agent, and what it left to us."""

    __slots__ = ("max_rss_kb", "stime", "utime")

    def __init__(self) -> None:
        self.utime = self.stime = 0.0
        self.max_rss_kb = 0

    def reap(self, pid: int) -> bool:
        """Reap a child if it has ended, and add what it used."""
        try:
            reaped, _, used = os.wait4(pid, os.WNOHANG)
        except ChildProcessError:
            return False
        if reaped:
            self.utime += used.ru_utime
            self.stime += used.ru_stime
            self.max_rss_kb = max(self.max_rss_kb, used.ru_maxrss)
        return bool(reaped)

    def facts(self) -> dict[str, float]:
        """Return it as it stands in the exit record."""
        return {
            "utime_seconds": round(self.utime, 6),
            "stime_seconds": round(self.stime, 6),
            "max_rss_mb": round(self.max_rss_kb / 1024, 3),
        }


class Ending:
    """Brings the agent and all its descendants to an end; calls `when_gone` once nothing of them is left.

    The agent is not reaped before that: as long as it is our zombie nobody else can get its pid or its group's id, so
    signalling the group hits ours or nothing.
    """

    def __init__(
        self,
        loop: Loop,
        spool: Spool,
        agent: identity.Process,
        marker: tuple[str, int],
        when_gone: Callable[[], None],
        *,
        stands_in: bool = False,
        group: Group | None = None,
    ) -> None:
        self._loop = loop
        self._spool = spool
        self.agent = agent
        self._marker = marker
        self._when_gone = when_gone
        #: The agent's process only stands for others, which are not below us: see stand_in.py.
        self._stands_in = stands_in
        #: The control group of the agent and all that came of it, where there is one.
        self._group = group
        self.usage = Usage()
        self.death: Death | None = None
        self.gone = False
        #: "stopped" or "killed" once somebody asked for it, or the limit it went past; and what was said.
        self.verdict = ""
        self.stop_reason = ""
        self.forced = False
        self.paused = False
        self.unkillable: list[int] = []
        self._kill_at = float("inf")
        self._term_at = float("inf")
        #: Whether the agent ever left us a child of its own, and since when none is seen any more.
        self._had_orphans = False
        self._empty_since = 0.0

    # --- What is asked of it ---

    def stop(self, grace_seconds: float, reason: str, *, verdict: str = "stopped") -> None:
        """Ask the agent to end; a repeat may shorten the grace period, never lengthen it."""
        if self.gone:
            return
        first = self._announce(verdict, reason)
        now = time.monotonic()
        self._kill_at = min(self._kill_at, now + grace_seconds)
        self._term_at = min(self._term_at, now + min(grace_seconds / 2, TERM_AFTER_SECONDS))
        if first and self.death is None and grace_seconds > 0:
            self.signal_group(signal.SIGINT)
            self._wake()
        self._proceed()

    def kill(self, reason: str, *, verdict: str = "killed") -> None:
        """End the agent and everything below it at once."""
        if self.gone:
            return
        first = self._announce(verdict, reason)
        if not first and self.death is None and self.verdict == "stopped":
            self.verdict = verdict
        self._kill_at = self._term_at = time.monotonic()
        self._proceed()

    def _announce(self, verdict: str, reason: str) -> bool:
        if self.verdict or self.death:
            return False
        self.verdict = verdict
        self.stop_reason = reason
        self._spool.tell("stopping", reason=reason)
        return True

    def pause(self) -> bool:
        """Stop the agent and all its descendants in their tracks; return False if they are already."""
        if self.paused or self.death:
            return False
        self.signal_group(signal.SIGSTOP)
        self._signal_others(signal.SIGSTOP)
        self.paused = True
        self._spool.tell("paused")
        return True

    def resume(self) -> bool:
        """Undo pause; return False if there is nothing to undo."""
        if not self.paused:
            return False
        self._wake()
        self._spool.tell("resumed")
        return True

    def _wake(self) -> None:
        # The agent may have been stopped by others than us: the group gets SIGCONT in any case.
        self.signal_group(signal.SIGCONT)
        if self.paused:
            self._signal_others(signal.SIGCONT)
        self.paused = False

    # --- What it sees ---

    def look(self) -> None:
        """Reap adopted orphans and see whether the agent ended; called after SIGCHLD."""
        for pid in identity.children_of_self():
            if pid != self.agent.pid:
                self._had_orphans = True
                self.usage.reap(pid)
        if self.death is None:
            self._look_at_agent()
        elif not self.gone:
            self._clean()

    def _look_at_agent(self) -> None:
        # WNOWAIT leaves it a zombie: see the class.
        end = os.waitid(os.P_PID, self.agent.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is None:
            return
        exited = end.si_code == os.CLD_EXITED
        if self._group is not None and self._group.memory_kills:
            self._announce("memory", "the kernel killed it for want of memory")
        self.death = Death(end.si_status if exited else None, None if exited else end.si_status)
        if self._remains():
            self._end_remains()
        self._clean()

    def _end_remains(self) -> None:
        now = time.monotonic()
        if not self.verdict:
            self._kill_at = now + LEFTOVER_GRACE_SECONDS
        self._term_at = float("inf")
        log(f"The agent ended and left processes: {[process.pid for process in self._remains()]}")
        self._signal_remains(signal.SIGTERM)
        self._signal_remains(signal.SIGCONT)

    def _clean(self) -> None:
        remains = self._remains()
        if not remains:
            if self._is_settled():
                self._finish()
            return
        self._empty_since = 0.0
        self._had_orphans = True
        if time.monotonic() > self._kill_at + UNKILLABLE_SECONDS:
            self.unkillable = [process.pid for process in remains]
            log(f"Processes that cannot be killed are left: {self.unkillable}")
            self._finish()
        else:
            self._proceed()

    def _is_settled(self) -> bool:
        """Say whether nothing is left at a second look either, where there was something before."""
        now = time.monotonic()
        if not self._had_orphans or (self._empty_since and now >= self._empty_since + SECOND_LOOK_SECONDS):
            return True
        self._empty_since = self._empty_since or now
        self._loop.after("ending", SECOND_LOOK_SECONDS, self._clean)
        return False

    def _finish(self) -> None:
        self.gone = True
        self._loop.cancel("ending")
        if self._group is not None:
            self._group.remove()
        self._when_gone()

    def wait_until_gone(self) -> None:
        """Kill, and wait without the loop: for a shim that cannot go on. Gives up on what only the kernel holds."""
        deadline = time.monotonic() + UNKILLABLE_SECONDS
        while not self.gone and time.monotonic() < deadline:
            self._kill_all()
            self.look()
            time.sleep(0.01)

    # --- Escalation ---

    def _proceed(self) -> None:
        """Do what is due by now, and come back when the next step is."""
        now = time.monotonic()
        if now >= self._kill_at:
            self._kill_all()
            return
        if now >= self._term_at:
            self._term_at = float("inf")
            self.signal_group(signal.SIGTERM)
            self._wake()
        self._loop.after("ending", min(self._kill_at, self._term_at) - now, self._proceed)

    def _kill_all(self) -> None:
        if self.death is None and self.verdict == "stopped":
            self.forced = True
        if self._group is not None:
            self._group.kill()
        self.signal_group(signal.SIGKILL)
        self._signal_remains(signal.SIGKILL)
        for process in self._marked():
            process.signal(signal.SIGKILL)
        # What was forked while we looked is found next time; and a death is told by SIGCHLD before that.
        since = time.monotonic() - self._kill_at
        if since > ONE_BY_ONE_SECONDS:
            self._kill_groups()
        self._loop.after("ending", min(1.0, 0.02 + since / 4), self._proceed if self.death is None else self._clean)

    def signal_group(self, number: int) -> None:
        """Send a signal to the agent's process group."""
        if self._stands_in and number == signal.SIGKILL:
            number = self._kill_of_a_stand_in()
        try:
            os.killpg(self.agent.pid, number)
        except (ProcessLookupError, PermissionError) as error:
            # Nobody in it any more, or only programs that took another user's rights (setuid).
            log(f"Signal {number} reached nobody in the group: {error}")

    def _kill_of_a_stand_in(self) -> int:
        """Return the signal that makes it kill what it stands for; SIGKILL for one that did not in good time."""
        if time.monotonic() > self._kill_at + stand_in.PATIENCE_SECONDS:
            return signal.SIGKILL
        # Paused, it would not hear it.
        self._wake()
        return stand_in.KILL

    def _kill_groups(self) -> None:
        """Kill the groups of descendants that are faster than we are.

        Of processes that fork a successor and end, each that we find is gone when the signal comes; a group is hit as a
        whole, forks under way included. Only groups of sessions that were made below us: ours holds none of them, and
        the kernel does not give a group's number to another while anybody is in it.
        """
        own = os.getsid(0)
        for group in {process.group for process in self._remains() if process.session != own}:
            try:
                os.killpg(group, signal.SIGKILL)
            except (ProcessLookupError, PermissionError) as error:
                log(f"SIGKILL reached nobody in group {group}: {error}")

    def _signal_remains(self, number: int) -> None:
        for process in self._remains():
            self._signal(process, number)

    def _signal_others(self, number: int) -> None:
        """Signal descendants that left the agent's group."""
        for process in identity.descendants(os.getpid(), identity.table()):
            if process.group != self.agent.pid:
                self._signal(process, number)

    def _signal(self, process: identity.Process, number: int) -> None:
        try:
            process.signal(number)
        except PermissionError:
            log(f"Not allowed to signal process {process.pid}, which took another user's rights.")

    def _remains(self) -> list[identity.Process]:
        """Return the living descendants other than the agent itself."""
        if self._stands_in:
            # Once it is dead, those it stood for are known by their marker alone.
            return self._marked() if self.death is not None else []
        # Whatever lost its parent below us is our child: with no child there is no descendant, and no need to look
        # through the whole process table.
        grouped = self._group.pids() if self._group is not None and self._group.is_populated else []
        if self.death is not None and identity.children_of_self() == [self.agent.pid] and not grouped:
            return []
        below = {process.pid: process for process in identity.descendants(os.getpid(), identity.table())}
        for pid in grouped:
            # One that was put into the group without being below us counts as its own.
            if pid not in below and (process := identity.look(pid)) and not process.is_dead:
                below[pid] = process
        return [process for pid, process in below.items() if pid != self.agent.pid]

    def _marked(self) -> list[identity.Process]:
        """Return processes that carry our marker but are not below us: the last resort."""
        known = {os.getpid()} | ({self.agent.pid} if self._stands_in else set())
        candidates = [
            process for process in identity.table().values() if process.pid not in known and not process.is_dead
        ]
        return [process for process in candidates if identity.is_marked(process.pid, *self._marker)]

    # --- What is known in the end ---

    def reason(self) -> str:
        """Return the word for how it ended."""
        if self.verdict:
            return self.verdict
        return "signaled" if self.death and self.death.signal else "exited"

    def facts(self, started: float) -> dict[str, object]:
        """Reap the agent and return the exit record's fields."""
        self.usage.reap(self.agent.pid)
        death = self.death or Death(None, None)
        facts: dict[str, object] = {
            "code": death.code,
            "signal": death.signal,
            "reason": self.reason(),
            "rusage": self.usage.facts(),
            "duration_seconds": round(death.at - started, 6),
        }
        return facts | self._remarks()

    def _remarks(self) -> dict[str, object]:
        remarks: dict[str, object] = {
            "stop_reason": self.stop_reason,
            "forced": self.forced,
            "unkillable": self.unkillable,
        }
        return {name: value for name, value in remarks.items() if value}
