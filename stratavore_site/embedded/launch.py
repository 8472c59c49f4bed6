"""Become another program that ends when its parent does, as another user if asked.

Run as a script, in the shortest-lived Python there is:
    python -I -S launch.py PARENT_PID DEATH_SIGNAL UID GID PROGRAM [ARGUMENT...]
UID and GID -1: stay who you are.

Why not subprocess's own `user=` and a preexec_fn: the kernel forgets the death signal at a change of user, and Python
run between fork and exec may deadlock on a lock that another thread held.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(parent: int, death_signal: int) -> None:
    """Have the kernel send this process `death_signal` when the thread that started it ends. Does nothing off Linux."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def become(uid: int, gid: int) -> None:
    """Drop root for good: groups first, because without root they cannot be dropped any more."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def main(arguments: list[str]) -> None:
    parent, death_signal, uid, gid = map(int, arguments[:4])
    command = arguments[4:]
    if uid != -1:
        become(uid, gid)
    die_with_parent(parent, death_signal)
    os.execv(command[0], command)  # noqa: S606 - that is the point


if __name__ == "__main__":
    main(sys.argv[1:])
