"""Root does not run servers: they get an unprivileged user, and directories that this user can reach."""

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from stratavore_site.embedded.errors import CannotStart

#: Looked for in this order. initdb refuses a user id without a name, so a number of our own would not do.
ACCOUNTS = ("postgres", "nobody", "daemon")
#: Root's servers live here when the checkout lies where no other user may go, such as below /root.
OUTSIDE = Path("/var/lib/stratavore")


@dataclass(frozen=True)
class Identity:
    """The user that a server runs as."""

    uid: int
    gid: int

    def own(self, path: Path, mode: int) -> None:
        """Give `path` to this user."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)
        path.chmod(mode)


def identity() -> Identity | None:
    """Return whom servers run as; None: the current user, who is not root."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        if account.pw_uid != 0:
            return Identity(account.pw_uid, account.pw_gid)
    raise CannotStart(f"PostgreSQL does not run as root, and none of the users {', '.join(ACCOUNTS)} exists here.")


def may_enter(directory: Path, who: Identity) -> bool:
    """Return whether `who` may pass through one directory."""
    status = directory.stat()
    if status.st_uid == who.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == who.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def reachable(path: Path, who: Identity) -> bool:
    """Return whether `who` may pass through every directory above `path`; those that do not exist yet do not count."""
    return all(may_enter(parent, who) for parent in path.resolve().parents if parent.exists())


def outside(directory: Path) -> Path:
    """Return the directory that stands in for `directory` where root's servers cannot reach it."""
    return OUTSIDE / sha256(os.fsencode(directory.resolve())).hexdigest()[:12]


def directory_for(wanted: Path, who: Identity | None) -> Path:
    """Return a directory, made if needed, in which `who` may own a directory: `wanted`, or for root one outside.

    The modes of existing parents are never changed.
    """
    if who and not reachable(wanted / "data", who):
        wanted = outside(wanted.parent) / wanted.name
    for missing in reversed([path for path in (wanted, *wanted.parents) if not path.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(0o711 if who else 0o700)
    return wanted


def reachable_copy(tree: Path, who: Identity | None, *, into: str) -> Path:
    """Return `tree`, or when `who` cannot reach it a copy of it outside, in a directory named `into`; made once."""
    if who is None or reachable(tree / "file", who):
        return tree
    copy = OUTSIDE / into / tree.name
    if copy.exists():
        return copy
    for directory in (OUTSIDE, copy.parent):
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o711)
    partial = copy.with_name(f"{copy.name}.{os.getpid()}")
    shutil.copytree(tree, partial, symlinks=True)
    try:
        partial.rename(copy)
    except OSError:
        shutil.rmtree(partial)  # another one was faster
    return copy
