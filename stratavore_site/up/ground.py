"""What must be true of this machine before anything starts; each refusal is one sentence."""

import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from stratavore_site.embedded import privileges
from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.processes import LOOPBACK, is_free

#: A fresh PostgreSQL takes 40 MB and its write-ahead log up to max_wal_size, 512 MB.
FREE_MB = 500
FIRST_PORT = 8000
#: A unix socket's path ends at 107 bytes (sun_path); below the run directories come 50: id, generation, name.
LONGEST_RUNS_DIRECTORY = 57


def state_directory(path: Path) -> Path:
    """Make the directory that everything lives in. Its mode lets root's unprivileged servers pass, and nobody look."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o711 if privileges.identity() else 0o700)
        probe = path / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as reason:
        if reason.errno == errno.ENOSPC:
            raise CannotStart(f"The disk that holds {path} is full.") from None
        raise CannotStart(f"{path} cannot be written: {reason.strerror}.") from None
    return path


def enough_disk(path: Path) -> None:
    """Refuse a disk that is about to be full."""
    free_mb = shutil.disk_usage(path).free // 1_000_000
    if free_mb < FREE_MB:
        raise CannotStart(f"The disk that holds {path} has {free_mb} MB free: at least {FREE_MB} MB are needed.")


def short_enough(runs: Path) -> None:
    """Refuse run directories whose control sockets could not be opened."""
    if len(os.fsencode(runs)) > LONGEST_RUNS_DIRECTORY:
        raise CannotStart(
            f"{runs} is too long for the sockets of the runners: set STRATAVORE_RUNS_DIR to a directory of at most "
            f"{LONGEST_RUNS_DIRECTORY} characters."
        )


def alone(path: Path) -> IO[str]:
    """Return the lock of the state directory, held; refuse if another `up` holds it. Tell what to say with `tell`."""
    stream = (path / "up.lock").open("a+")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        raise CannotStart(f"Stratavore already runs here: {stream.read().strip() or 'it is just starting'}") from None
    return stream


def tell(lock: IO[str], sentence: str) -> None:
    """Leave word for a second `up`."""
    lock.truncate(0)
    lock.write(sentence)
    lock.flush()


def port(wanted: int | None, host: str = LOOPBACK) -> int:
    """Return the port to serve on: the wanted one or a refusal; unasked, 8000 or the next that is free."""
    if wanted is not None:
        if not 0 < wanted < 65536:
            raise CannotStart(f"{wanted} is not a port: ports are 1 to 65535.")
        if not is_free(wanted, host):
            raise CannotStart(
                f"Port {wanted} is in use (or not yours to open): choose another, or leave the choice to `make up`."
            )
        return wanted
    for candidate in range(FIRST_PORT, FIRST_PORT + 100):
        if is_free(candidate, host):
            return candidate
    raise CannotStart(
        f"The ports {FIRST_PORT} to {FIRST_PORT + 99} are all in use: name another, as in `make up PORT=9000`."
    )
