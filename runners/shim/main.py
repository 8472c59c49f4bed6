"""The shim as a program: `main()` runs it detached for the run directory named on the command line."""

import ctypes
import gc
import os
import sys

from runners.shim import rundir
from runners.shim.spool import log
from runners.shim.supervisor import Supervisor

PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


class Readiness:
    """Whoever started us waits for one word: `started`, or `ended` when there is already an exit record."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def tell(self, word: str) -> None:
        """Say the word, once; whoever waited may have given up."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            os.write(fd, word.encode())
        except OSError as error:
            log(f"Nobody waits for our start any more: {error}")
        os.close(fd)


def main() -> None:
    """Run the shim: argv is RUN_DIR [LOCK_FD READY_FD]; without them the lock is taken here. Returns at once."""
    run_dir = os.path.abspath(sys.argv[1])
    lock, ready = (int(word) for word in sys.argv[2:4]) if len(sys.argv) > 3 else (rundir.take_lock(run_dir), -1)
    if lock is None:
        sys.exit("Another shim has this run directory.")
    if os.fork() == 0:
        serve(run_dir, lock, ready)
    os._exit(0)


def serve(run_dir: str, lock: int, ready: int) -> None:
    """Be the shim of this run directory, in a freshly forked process whose parent is about to end. Never returns."""
    code = 1
    try:
        detach(run_dir, lock, ready)
        _supervise(run_dir, lock, Readiness(ready))
        code = 0
    except BaseException:  # noqa: BLE001 - into shim.log, whatever it is; this process ends
        sys.__excepthook__(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(code)


def detach(run_dir: str, *keep: int) -> None:
    """Leave session, terminal, directory and descriptors of whoever started us behind."""
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    log_flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    null = os.open(os.devnull, os.O_RDONLY)
    logfile = os.open(os.path.join(run_dir, rundir.LOG), log_flags, 0o600)
    kept = {fd for fd in keep if fd > 2}
    for target, fd in ((0, null), (1, logfile), (2, logfile)):
        os.dup2(fd, target)
    start = 3
    for fd in sorted(kept):
        os.set_inheritable(fd, False)
        os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))


def _supervise(run_dir: str, lock: int, ready: Readiness) -> None:
    # Orphans below us become our children: no daemon escapes.
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, *map(ctypes.c_ulong, (1, 0, 0, 0))):
        log(f"Not a subreaper: {os.strerror(ctypes.get_errno())}")
    # Collected objects are few, and a collection would touch, and so copy, the pages shared with the zygote.
    gc.freeze()
    gc.enable()
    supervisor = Supervisor(run_dir, lock, lambda: ready.tell("started"))
    try:
        supervisor.run()
    except Exception as error:
        log(f"The shim failed: {type(error).__name__}: {error}")
        supervisor.abandon(f"{type(error).__name__}: {error}")
        raise
    finally:
        ready.tell("ended")
