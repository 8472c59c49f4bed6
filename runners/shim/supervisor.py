"""The shim itself: one agent with its streams, spool and control socket, from its start to its exit record."""

import os
import signal
import time
from collections.abc import Callable

from runners.shim import identity, rundir, stand_in, tree
from runners.shim.agent import EXEC_FAILED_CODE, ExecFailed, Stdio, spawn
from runners.shim.control import Control
from runners.shim.ending import Ending
from runners.shim.following import Following
from runners.shim.group import Group
from runners.shim.limits import Watch, limits_of
from runners.shim.loop import Loop
from runners.shim.operations import Operations
from runners.shim.spool import Cast, Nudge, Spool, log
from runners.shim.streams import Input, LastWord, Output, Reports

#: Output may be held open by a process that is not below us (a descriptor sent over a socket): not waited for longer.
DRAIN_SECONDS = 2.0
#: Viewers get this long to read the end of the output after the exit is on record.
LINGER_SECONDS = 1.0


def _whole(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


class Supervisor:
    """Runs the agent of one run directory. The lock is held; `when_started` is called once the agent runs."""

    def __init__(self, run_dir: str, lock: int, when_started: Callable[[], None]) -> None:
        spec = rundir.read_json(run_dir, rundir.SPEC)
        if spec is None:
            raise ValueError("There is no spec.json.")
        self.run_dir = run_dir
        self._lock = lock
        self._when_started = when_started
        self._marker = (str(spec["runner_id"]), _whole(spec["generation"], 0))
        self._started = time.monotonic()
        self._started_at = time.time()
        self._grace_seconds = _whole(spec.get("grace_seconds"), 10)
        self.loop = Loop()
        self._open_spool(spec)
        self._failure = ""
        self.group: Group | None = None
        self._stands_in = bool(spec.get("stand_in"))
        self.ending: Ending | None = None
        self.output: Output | None = None
        self._spec = spec

    def _open_spool(self, spec: dict[str, object]) -> None:
        env = self._environment(spec)
        rundir.reserve_exit(self.run_dir)
        cast = Cast(
            self.run_dir, _whole(spec.get("columns"), 80), _whole(spec.get("rows"), 24), env.get("TERM", "dumb")
        )
        nudge = Nudge(self.loop, str(spec.get("nudge") or ""), os.path.basename(self.run_dir))
        self.spool = Spool(self.loop, self.run_dir, cast, nudge)
        self.reports = Reports(self.loop, self.spool, os.path.join(self.run_dir, rundir.REPORT))

    def _environment(self, spec: dict[str, object]) -> dict[str, str]:
        given = spec.get("env")
        env = {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
        if spec.get("tty"):
            env.setdefault("TERM", "xterm-256color")
        env["STRATAVORE_RUNNER_ID"] = self._marker[0]
        env["STRATAVORE_GENERATION"] = str(self._marker[1])
        env["STRATAVORE_REPORT"] = os.path.join(self.run_dir, rundir.REPORT)
        return env

    def run(self) -> None:
        """Start the agent and serve it until its exit is on record."""
        self._heed_signals()
        try:
            self._start()
        except ExecFailed as failure:
            if self.group is not None:
                self.group.remove()
            self._record(
                {"code": EXEC_FAILED_CODE, "signal": None, "reason": f"exec_failed: {failure}", "rusage": None}
            )
            return
        self._when_started()
        self.loop.run()

    def _heed_signals(self) -> None:
        # Before there is an agent: what comes while it starts waits in the loop.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.loop.on_signal(signal.SIGCHLD, self._look)
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.on_signal(number, self._told_to_end)

    def _start(self) -> None:
        spec = self._spec
        columns, rows = _whole(spec.get("columns"), 80), _whole(spec.get("rows"), 24)
        stdio = Stdio.on_terminal(columns, rows) if spec.get("tty") else Stdio.on_pipes()
        # Before it runs: what its file holds now is history.
        self.following = Following(self.loop, spec.get("follow"), self._followed)
        if not self._stands_in:
            name, setting = os.path.basename(self.run_dir), str(spec.get("control_group") or "")
            self.group = Group.make(name, setting, limits_of(spec))
        fork = self.group.fork if self.group else os.fork
        pid = spawn(spec, self._environment(spec), stdio, self._write_identities, fork)
        stdio.give_away()
        agent = identity.look(pid)
        if agent is None:
            raise ChildProcessError("The agent's process is not in /proc.")
        self.ending = Ending(
            self.loop, self.spool, agent, self._marker, self._agent_gone, stands_in=self._stands_in, group=self.group
        )
        limits = {"limits": spec["limits"]} if spec.get("limits") else {}
        self.spool.tell("started", pid=pid, start_ticks=agent.start_ticks, boot_id=identity.boot_id(), **limits)
        self.output = Output(self.loop, self.spool, stdio, self._hear)
        self.input = Input(self.loop, stdio)
        self.last_word = LastWord(self.input, spec.get("input_until"))
        self.watch = Watch(
            self.loop, self.spool, self.ending, self._processes, limits_of(spec), self._grace_seconds, self.group
        )
        operations = Operations(self.ending, self.input, self.spool, stdio, self._grace_seconds, self._started_at)
        self.control = Control(self.loop, self.run_dir, operations.serve, self.spool.cast.file.fd, self._output_size)
        self.spool.when_output = self.control.output_grew
        self.watch.begin()
        self._feed(str(spec.get("stdin") or ""), keep_open=stdio.terminal is not None or bool(spec.get("input_until")))
        self._spec = {}

    def _processes(self) -> list[int]:
        """Return the agent and all that came of it; in a container they are below its first process."""
        if not self._stands_in:
            return tree.below(os.getpid())
        found = rundir.read_json(self.run_dir, rundir.CONTAINER) or {}
        pid = _whole(found.get("pid"), 0)
        alive = pid and identity.is_alive(str(found["boot_id"]), pid, _whole(found["start_ticks"], 0))
        return [pid, *tree.below(pid)] if alive else []

    def _hear(self, line: bytes) -> None:
        self.following.hear(line)
        self.last_word.hear(line)

    def _followed(self, line: bytes, partial: bool) -> None:
        self.spool.line("log", line, partial=partial)

    def _output_size(self) -> int:
        return self.spool.cast.file.size

    def _feed(self, text: str, *, keep_open: bool) -> None:
        self.input.write(text.encode("utf-8", "surrogateescape"))
        if not keep_open:
            self.input.close_when_written()

    def _write_identities(self, agent_pid: int) -> None:
        """Write who we and the agent are, before the agent is executed."""
        own = os.getpid()
        record: dict[str, object] = {
            "boot_id": identity.boot_id(),
            "shim": {"pid": own, "start_ticks": identity.start_ticks(own)},
            "agent": {"pid": agent_pid, "start_ticks": identity.start_ticks(agent_pid)},
            "started_at": self._started_at,
            "control_group": self.group.path if self.group else None,
        }
        rundir.write_json(self.run_dir, rundir.SHIM, record)

    def _look(self) -> None:
        if self.ending is not None:
            self.ending.look()

    def _told_to_end(self) -> None:
        # Nobody of ours sends this: the machine is going down.
        if self.ending is not None:
            self.ending.stop(self._grace_seconds, "the shim got SIGTERM")

    # --- The end ---

    def _agent_gone(self) -> None:
        if self.output is None:
            return
        self.input.close()
        self.loop.after("drain", DRAIN_SECONDS, self._drained)
        self.output.drain(self._drained)

    def _drained(self) -> None:
        self.loop.cancel("drain")
        if self.ending is None or self.output is None:
            return
        held = self.output.finish()
        self.following.finish()
        if held:
            log("Somebody who is no descendant of the agent holds its output open; it was not waited for.")
        self._record(self._facts(self.ending))
        self.control.close()
        self._linger_until = time.monotonic() + LINGER_SECONDS
        self._linger()

    def _facts(self, ending: Ending) -> dict[str, object]:
        """Return what is known of the end; of a stand-in, what it told of those it stood for."""
        facts = ending.facts(self._started)
        if not self._stands_in:
            return facts
        told = stand_in.account(self.run_dir) or {"code": None, "signal": None, "reason": "lost"}
        # What the stand-in itself used says nothing of them.
        return facts | told | {"reason": ending.verdict or told["reason"], "rusage": None}

    def _linger(self) -> None:
        self.control.output_grew()
        if self.control.is_behind and time.monotonic() < self._linger_until:
            self.loop.after("linger", 0.02, self._linger)
        else:
            self.loop.stop()

    def _record(self, facts: dict[str, object]) -> None:
        """Write the last telemetry record and exit.json, tell the node agent, and let go of the lock."""
        self.reports.finish()
        if self._failure:
            facts["reason"] = self._failure
        facts.setdefault("duration_seconds", round(time.monotonic() - self._started, 6))
        self.spool.tell("exit", **facts)
        self.spool.nudge.send()
        self.spool.sync()
        record = facts | {"ended_at": time.time(), "boot_id": identity.boot_id()} | self.spool.faults()
        rundir.write_exit(self.run_dir, record)
        os.close(self._lock)
        self.spool.nudge.send()

    def abandon(self, error: str) -> None:
        """Record that we failed, after killing the agent: nobody would read its output any more."""
        self._failure = f"shim_error: {error}"
        if self.ending is not None and not self.ending.gone:
            self.ending.kill(self._failure)
            self.ending.wait_until_gone()
        if not rundir.has(self.run_dir, rundir.EXIT):
            unknown: dict[str, object] = {"code": None, "signal": None, "rusage": None}
            self._record(self._facts(self.ending) if self.ending else unknown)
