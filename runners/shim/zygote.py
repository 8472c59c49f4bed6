"""The zygote: a small process with the shim's modules loaded, which forks shims faster than an exec could load them.

It lives as long as whoever started it holds the other end of its lifeline. Its shims do not depend on it.
"""

import contextlib
import gc
import os
import select
import socket
import sys

from runners.shim.control import is_trusted, listen
from runners.shim.identity import boot_id
from runners.shim.main import serve

#: A request is sent in one piece right after connecting.
REQUEST_SECONDS = 1.0
REQUEST_BYTES = 8192


def main() -> None:
    """Serve: argv is SOCKET_PATH LIFELINE_FD."""
    path, lifeline = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(lifeline, False)
    os.chdir("/")
    server = listen(path, socket.SOCK_SEQPACKET, 128)
    mine = os.lstat(path).st_ino
    # What is loaded now is shared with all shims; a collection would write to it, and so copy it.
    boot_id()
    gc.collect()
    gc.freeze()
    gc.disable()
    os.write(lifeline, b"\n")
    try:
        _serve_until_alone(server, lifeline)
    finally:
        with contextlib.suppress(FileNotFoundError):
            # A successor may have put its own socket there.
            if os.lstat(path).st_ino == mine:
                os.unlink(path)


def _serve_until_alone(server: socket.socket, lifeline: int) -> None:
    poll = select.poll()
    poll.register(server, select.POLLIN)
    poll.register(lifeline, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == lifeline:
                return
            _accept(server)


def _accept(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.settimeout(REQUEST_SECONDS)
        try:
            if not is_trusted(connection):
                return
            request, fds, _, _ = socket.recv_fds(connection, REQUEST_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            sys.stderr.write(f"A request could not be read: {error}\n")
            return
        if not fds:
            return
        try:
            _fork_shim(os.fsdecode(request), fds[0], connection)
        finally:
            os.close(fds[0])


def _fork_shim(run_dir: str, lock: int, ready: socket.socket) -> None:
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return
    # The process in between ends at once, and init adopts the shim.
    if os.fork() == 0:
        ready.setblocking(True)
        serve(run_dir, lock, ready.detach())
    os._exit(0)
