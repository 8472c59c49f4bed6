"""The shim's child for a runner in a container: starts it, carries its streams and signals, tells how it ended.

`main()` is a program: argv is RUN_DIR, whose spec.json names the engine's socket and the container, created before.
"""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
import tty

from runners.shim import identity, rundir, stand_in
from runners.shim.cgroup import Cgroup
from runners.shim.engine import EngineGone, EngineRefused, EngineSocket
from runners.shim.spool import log

#: Passed on to the container as they are.
PASSED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
#: What an agent that ended before it began would have returned.
NOT_STARTED_CODE = 125
READ_BYTES = 65536
#: Typed but not yet taken by the container; more stays in the terminal.
INPUT_LIMIT_BYTES = 262_144
#: Between two looks at a container whose stream has ended: the engine notes the exit a moment later.
FIRST_LOOK_SECONDS = 0.01
LONGEST_LOOK_SECONDS = 1.0
FRAME_HEAD_BYTES = 8
#: States of a container that was started here only after its engine has prepared it for another start.
NOT_BEGUN = ("configured", "created", "initialized")


def main() -> None:
    """Attach to the container of this run directory; the exit code is the container's."""
    run_dir = sys.argv[1]
    # Standard error is the container's: ours goes where the shim's goes.
    sys.stderr = open(os.path.join(run_dir, rundir.LOG), "a")  # noqa: SIM115 - for as long as this process lives
    spec = rundir.read_json(run_dir, rundir.SPEC)
    if spec is None or not isinstance(spec["container"], dict):
        sys.exit("There is no container in spec.json.")
    place = spec["container"]
    engine = EngineSocket(str(place["engine"]), str(place["name"]))
    code = Attachment(run_dir, engine, on_terminal=bool(spec["tty"])).run()
    os._exit(code)


class Signals:
    """Signals as they come, to be read like any other input."""

    def __init__(self) -> None:
        self.fd, self._wake = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (*PASSED, signal.SIGCONT, signal.SIGWINCH, stand_in.KILL):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGTSTP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)

    def read(self) -> list[int]:
        """Return those that came; SIGCONT first, because a paused container takes no other."""
        try:
            numbers = list(os.read(self.fd, 1024))
        except BlockingIOError:
            return []
        return sorted(set(numbers), key=lambda number: number != signal.SIGCONT)


class Attachment:
    """One container's streams, signals and end."""

    def __init__(self, run_dir: str, engine: EngineSocket, *, on_terminal: bool) -> None:
        self._run_dir = run_dir
        self._engine = engine
        self._on_terminal = on_terminal
        self._signals = Signals()
        self._stream: socket.socket | None = None
        self._came = bytearray()
        self._typed = bytearray()
        self._input_open = True
        self._output_open = True
        self._cgroup: Cgroup | None = None
        self._pid = 0
        self._start_ticks: int | None = None

    def run(self) -> int:
        """Start the container and serve it until it has ended; return its exit code."""
        if self._on_terminal:
            # Echo and line editing are the business of the container's own terminal.
            tty.setraw(0)
        try:
            self._start()
        except (EngineGone, EngineRefused) as error:
            return self._tell(NOT_STARTED_CODE, f"container_failed: {error}")
        while True:
            self._carry()
            code = self._await_exit()
            if code is not None:
                return code

    # --- The beginning ---

    def _start(self) -> None:
        # Attached first: not a byte of the output goes by.
        self._attach()
        try:
            self._engine.start()
        except EngineRefused:
            # Podman looks at the process when it has started it, and calls it a failure if that has ended already.
            if self._engine.state().get("Status") in NOT_BEGUN:
                raise
        self._note_processes()
        self._resize()

    def _attach(self) -> None:
        self._stream, came = self._engine.attach()
        self._came = bytearray(came)
        self._stream.setblocking(False)

    def _note_processes(self) -> None:
        """Write who the container's first process is on this machine, for those who measure it."""
        self._pid = int(str(self._engine.state().get("Pid") or 0))
        self._start_ticks = identity.start_ticks(self._pid) if self._pid else None
        if self._start_ticks is None:
            return  # it has ended already
        self._cgroup = Cgroup.of(self._pid)
        record: dict[str, object] = {"boot_id": identity.boot_id(), "pid": self._pid, "start_ticks": self._start_ticks}
        rundir.write_json(self._run_dir, rundir.CONTAINER, record)

    # --- Streams ---

    def _carry(self) -> None:
        """Carry bytes both ways until the container's stream ends."""
        while self._stream is not None:
            self._flush_output()
            poll = select.poll()
            poll.register(self._signals.fd, select.POLLIN)
            poll.register(self._stream, select.POLLIN | (select.POLLOUT if self._typed else 0))
            if self._input_open and len(self._typed) < INPUT_LIMIT_BYTES:
                poll.register(0, select.POLLIN)
            ready = dict(poll.poll())
            if self._signals.fd in ready:
                self._heed()
            if 0 in ready:
                self._read_input()
            if self._typed:
                self._send_input()
            if self._stream is not None and self._stream.fileno() in ready:
                self._receive()

    def _receive(self) -> None:
        assert self._stream is not None  # noqa: S101 - asked by the caller
        try:
            data = self._stream.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            log(f"The container's stream broke: {error}")
            data = b""
        self._came += data
        if not data:
            self._look_for_memory_kill()
            self._flush_output()
            self._stream.close()
            self._stream = None

    def _flush_output(self) -> None:
        if self._on_terminal:
            self._write(1, bytes(self._came))
            self._came.clear()
            return
        # Frames: one byte for the stream, three of nothing, four of length.
        while len(self._came) >= FRAME_HEAD_BYTES:
            stream, size = struct.unpack(">BxxxI", self._came[:FRAME_HEAD_BYTES])
            if len(self._came) < FRAME_HEAD_BYTES + size:
                return
            self._write(2 if stream == 2 else 1, bytes(self._came[FRAME_HEAD_BYTES : FRAME_HEAD_BYTES + size]))
            del self._came[: FRAME_HEAD_BYTES + size]

    def _write(self, fd: int, data: bytes) -> None:
        if not data or not self._output_open:
            return
        try:
            rundir.write_all(fd, data)
        except OSError as error:
            # The shim is gone. The container is ended by whoever finds that out; until then it must not block.
            log(f"Nobody takes the output any more: {error}")
            self._output_open = False

    def _read_input(self) -> None:
        try:
            data = os.read(0, READ_BYTES)
        except OSError:
            data = b""
        self._typed += data
        if not data:
            self._input_open = False
            self._end_input()

    def _send_input(self) -> None:
        if self._stream is None:
            return
        try:
            del self._typed[: self._stream.send(self._typed)]
        except BlockingIOError:
            return
        except OSError as error:
            log(f"The container takes no input: {error}")
            self._typed.clear()
        self._end_input()

    def _end_input(self) -> None:
        """Pass the end of the input on, after all that was typed."""
        if not self._input_open and not self._typed and self._stream is not None:
            with contextlib.suppress(OSError):  # it has ended
                self._stream.shutdown(socket.SHUT_WR)

    # --- Signals ---

    def _heed(self) -> None:
        for number in self._signals.read():
            try:
                self._pass_on(number)
            except (EngineGone, EngineRefused) as error:
                log(f"The engine did not take signal {number}: {error}")

    def _pass_on(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self._resize()
        elif number == signal.SIGCONT:
            self._unpause()
        elif number == stand_in.KILL:
            self._unpause()
            self._engine.kill("SIGKILL")
        elif number in PASSED:
            self._engine.kill(signal.Signals(number).name)

    def _unpause(self) -> None:
        if self._engine.state().get("Paused"):
            self._engine.unpause()

    def _resize(self) -> None:
        if not self._on_terminal:
            return
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
        try:
            self._engine.resize(columns, rows)
        except (EngineGone, EngineRefused) as error:
            log(f"The container's terminal keeps its size: {error}")

    # --- The end ---

    def _look_for_memory_kill(self) -> None:
        """Ask the kernel now: the control group goes with the container, and not every engine notes such a kill."""
        if self._cgroup is not None:
            self._cgroup.look()

    def _await_exit(self) -> int | None:
        """Return the exit code once the container has ended, or None when its streams are carried again."""
        pause = FIRST_LOOK_SECONDS
        while True:
            try:
                state = self._engine.state()
                if not state.get("Running") and not state.get("Paused"):
                    return self._ended(state)
                # An engine that is slow still calls it running when it has ended. Attaching then would make Podman
                # prepare it for another start, and forget how it ended: its process on this machine must live.
                if pause > FIRST_LOOK_SECONDS and self._lives():
                    # So it was the engine that left. What was printed meanwhile went by.
                    self._attach()
                    log("Attached anew: the engine had dropped the connection.")
                    # It may have ended in between after all; the stream of one that is not started never ends.
                    again = self._engine.state()
                    return self._ended(again) if again.get("Status") in NOT_BEGUN else None
            except EngineRefused as refusal:
                if refusal.status == 404:
                    return self._tell(None, "lost: its container was removed")
                log(f"The engine does not tell how the container does: {refusal}")
            except EngineGone as error:
                if self._start_ticks is not None and not self._lives():
                    return self._tell(None, f"lost: the container ended while its engine was away ({error})")
            self._rest(pause)
            pause = min(2 * pause, LONGEST_LOOK_SECONDS)

    def _lives(self) -> bool:
        """Say whether the container's first process runs on this machine; one that was never seen there does not."""
        return self._start_ticks is not None and identity.is_alive(identity.boot_id(), self._pid, self._start_ticks)

    def _rest(self, seconds: float) -> None:
        """Wait, but not for signals."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._signals.fd], [], [], left)[0]:
                self._heed()

    def _ended(self, state: dict[str, object]) -> int:
        if state.get("Status") in NOT_BEGUN:
            return self._tell(None, "lost: it ended just when it was attached anew, and its engine forgot how")
        code = int(str(state.get("ExitCode") or 0))
        out_of_memory = bool(state.get("OOMKilled")) or (self._cgroup is not None and self._cgroup.killed)
        return self._tell(code, "memory" if out_of_memory and code else "")

    def _tell(self, code: int | None, reason: str) -> int:
        """Write the account, remove the container, and return what to exit with."""
        stand_in.tell_account(self._run_dir, code, reason)
        try:
            self._engine.remove()
        except (EngineGone, EngineRefused) as error:
            log(f"The container was not removed: {error}")
        return NOT_STARTED_CODE if code is None else code
