"""The run directory of one attempt: what lies in it, its lock, and writes that are whole or absent.

Used by the shim and by everyone who looks at one; imports the standard library only, and little of it.
"""

import fcntl
import json
import os

LOCK = "lock"
SPEC = "spec.json"
SHIM = "shim.json"
SOCKET = "control.sock"
OUTPUT = "output.cast"
TELEMETRY = "telemetry.jsonl"
REPORT = "report"
EXIT = "exit.json"
LOG = "shim.log"
#: Of a container: its first process on this machine, and how it ended (see stand_in.py).
CONTAINER = "container.json"
ACCOUNT = "account.json"

#: Room kept for exit.json from the start, so that a full disk cannot hide how an agent ended.
EXIT_RESERVE_BYTES = 4096


def create(run_dir: str) -> None:
    """Make the run directory, for its owner only; an existing one is fine."""
    os.makedirs(os.path.dirname(run_dir), exist_ok=True)
    try:
        os.mkdir(run_dir, 0o700)
    except FileExistsError:
        return


def take_lock(run_dir: str) -> int | None:
    """Take the lock and return its descriptor, or None if another holds it.

    It is held until every copy of the descriptor is closed, so it can be handed to a child without a gap.
    """
    fd = os.open(os.path.join(run_dir, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if _flock(fd, fcntl.LOCK_EX):
        return fd
    os.close(fd)
    return None


def is_locked(run_dir: str) -> bool:
    """Say whether somebody holds the lock.

    Asking takes a shared lock for an instant; therefore whoever finds the lock taken tries again (see ProcessRuntime).
    """
    try:
        fd = os.open(os.path.join(run_dir, LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def _flock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def has(run_dir: str, name: str) -> bool:
    """Say whether the run directory holds `name`."""
    return os.path.lexists(os.path.join(run_dir, name))


def read_json(run_dir: str, name: str) -> dict[str, object] | None:
    """Return the object in `name`, or None if there is no such file. Raises ValueError if it holds anything else."""
    try:
        fd = os.open(os.path.join(run_dir, name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        value = json.loads(file.read())
    if not isinstance(value, dict):
        raise ValueError(f"{name} does not hold a JSON object.")
    return value


def write_json(run_dir: str, name: str, value: dict[str, object]) -> None:
    """Write `name` so that a reader sees all of it or nothing. Not synced: after a power cut the agent is gone too."""
    _replace(run_dir, name, value, os.O_TRUNC)


def reserve_exit(run_dir: str) -> None:
    """Take the disk space of exit.json now."""
    fd = os.open(os.path.join(run_dir, "." + EXIT), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, b" " * EXIT_RESERVE_BYTES)
    finally:
        os.close(fd)


def write_exit(run_dir: str, record: dict[str, object]) -> None:
    """Write exit.json, synced, into the space reserved for it. The caller holds the lock."""
    # The reserve's blocks are written over, not given back first: another process could take them.
    _replace(run_dir, EXIT, record, 0, sync=True)


def _replace(run_dir: str, name: str, value: dict[str, object], flags: int, *, sync: bool = False) -> None:
    draft = os.path.join(run_dir, "." + name)
    data = json.dumps(value).encode()
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
    try:
        write_all(fd, data)
        os.ftruncate(fd, len(data))
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(draft, os.path.join(run_dir, name))
    if sync:
        sync_directory(run_dir)


def sync_directory(run_dir: str) -> None:
    """Make the names in the directory durable."""
    fd = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; a short write on a full disk is followed by the error that says so."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def trim_torn_line(run_dir: str, name: str) -> None:
    """Cut an unfinished last line, which a writer that died left. No reader has taken it: they stop at a newline."""
    try:
        fd = os.open(os.path.join(run_dir, name), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.ftruncate(fd, _end_of_last_line(fd))
    finally:
        os.close(fd)


def _end_of_last_line(fd: int, until: int = 0) -> int:
    """Return the position after the last newline before `until`, counted from the end of the file."""
    block = 65536
    end = max(0, os.fstat(fd).st_size + until)
    while end:
        start = max(0, end - block)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def last_line(run_dir: str, name: str) -> dict[str, object] | None:
    """Return the JSON object in the last line, or None if there is no line or it is of another kind."""
    try:
        with open(os.path.join(run_dir, name), "rb") as file:
            file.seek(_end_of_last_line(file.fileno(), until=-1))
            value = json.loads(file.readline() or b"null")
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def append_line(run_dir: str, name: str, value: dict[str, object]) -> None:
    """Append one JSON line, synced; for those who finish a directory whose shim is gone. The caller holds the lock."""
    trim_torn_line(run_dir, name)
    fd = os.open(os.path.join(run_dir, name), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, json.dumps(value).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
