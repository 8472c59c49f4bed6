"""Take a Debian package with all it needs, without installing it and without being root."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stratavore_site.embedded.errors import CannotStart

STATUS = Path("/var/lib/dpkg/status")


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold an exclusive lock on `file`: of several processes one does the work and the others find it done."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def fetch(package: str, into: Path, *, own: tuple[str, ...], finish: Callable[[Path], None]) -> Path:
    """Unpack `package` and what it depends on into `into`, once; return that root directory.

    Packages whose names begin with a word of `own` are taken even if this machine has them, so that they come as one
    set; others only if they are missing here. `finish` mends what does not bear being moved. Raises CannotStart.
    """
    root = into / "root"
    with locked(into / "lock"):
        if not (into / "complete").exists():
            if not (shutil.which("apt-get") and shutil.which("dpkg") and STATUS.exists()):
                raise CannotStart(f"{package} can be fetched on Debian and its kin only.")
            shutil.rmtree(root, ignore_errors=True)
            for archive in _download(package, into, own):
                _call(["dpkg", "-x", str(archive), str(root)], package)
            finish(root)
            shutil.rmtree(into / "apt", ignore_errors=True)
            (into / "complete").touch()
    return root


def _download(package: str, into: Path, own: tuple[str, ...]) -> list[Path]:
    """Let apt choose and fetch the packages, with lists and caches of our own."""
    apt = into / "apt"
    for directory in ("state/lists/partial", "cache/archives/partial"):
        (apt / directory).mkdir(parents=True, exist_ok=True)
    (apt / "status").write_text(_status_without(own))
    options = {
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Debug::NoLocking": "true",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
    }
    base = ["apt-get", "-qq", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    _call([*base, "update"], package)
    _call([*base, "--yes", "--no-install-recommends", "--download-only", "install", package], package)
    return sorted((apt / "cache" / "archives").glob("*.deb"))


def _status_without(own: tuple[str, ...]) -> str:
    paragraphs = STATUS.read_text(errors="replace").split("\n\n")
    return "\n\n".join(text for text in paragraphs if not text.startswith(tuple(f"Package: {word}" for word in own)))


def _call(command: list[str], package: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    if result.returncode != 0:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise CannotStart(f"{package} could not be fetched: {lines[-1] if lines else command[0] + ' failed'}")
