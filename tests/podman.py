"""A real container engine for tests: Podman's API service with a storage of its own, and one image."""

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

#: What the tests run containers with, as Debian names it.
PACKAGES = ("podman", "runc", "catatonit", "busybox-static")
IMAGE = "localhost/stratavore-test:latest"
START_SECONDS = 60.0
# runc and cgroupfs run where there is no systemd and only cgroup v1; an unprivileged nproc may not be raised.
CONFIGURATION = """\
[containers]
default_ulimits=["nofile=1024:1024","nproc=4096:4096"]
[engine]
runtime="runc"
cgroup_manager="cgroupfs"
events_logger="file"
"""
#: A program of the image that asks as Claude Code does, keeps the answer, and ends when its input does.
ASKING = """\
#!/bin/sh
read -r prompt
echo '{"type": "system", "subtype": "init", "session_id": "5d0a3f0e-0f6b-4a59-9d0c-1b8f6c1f2a01"}'
echo '{"type": "control_request", "request_id": "q1", "request": {"subtype": "can_use_tool", "tool_name": "Bash",\
 "input": {"command": "touch made"}}}'
read -r answer
echo "$answer" > answer
echo '{"type": "result", "subtype": "success", "is_error": false, "result": "Done."}'
cat > /dev/null
"""
#: The programs of the image.
APPLETS = (
    "cat", "echo", "env", "false", "id", "ip", "kill", "ls", "mkdir", "ps", "pwd", "seq", "sh", "sleep", "stty",
    "touch", "true", "yes",
)  # fmt: skip


class CannotServe(Exception):
    """No engine could be started here; the message says why."""


class Podman:
    """One engine; `socket` is where it serves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "podman.sock"
        self._storage = ["--root", str(directory / "root"), "--runroot", str(directory / "run")]
        self._env = {**os.environ, "CONTAINERS_CONF": str(directory / "containers.conf")}
        self._service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Serve, with the image there. Raises CannotServe."""
        self.directory.mkdir(parents=True)
        (self.directory / "containers.conf").write_text(CONFIGURATION)
        self._import()
        self.serve()
        self._prove()

    def serve(self) -> None:
        """Start the service, or start it anew after it was killed."""
        self.socket.unlink(missing_ok=True)
        with (self.directory / "service.log").open("ab") as log:
            command = ["system", "service", "--time=0", f"unix://{self.socket}"]
            # Its monitors write a file `oom` where they run when a container is out of memory.
            self._service = subprocess.Popen(
                self._command(*command), env=self._env, cwd=self.directory, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.socket.exists():
            if self._service.poll() is not None or time.monotonic() > deadline:
                raise CannotServe(self._last_words())
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill the service; its containers go on."""
        assert self._service is not None
        self._service.send_signal(signal.SIGKILL)
        self._service.wait()

    def stop(self) -> None:
        """Remove all containers, end the service, and leave nothing on the disk."""
        self.run("rm", "--all", "--force", "--time=0")
        if self._service is not None:
            self._service.terminate()
            self._service.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, *words: str) -> str:
        """Run a command of Podman's over the same storage, and return what it prints."""
        done = subprocess.run(self._command(*words), env=self._env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotServe(done.stderr.strip())
        return done.stdout

    def containers(self) -> list[str]:
        """Return the names of all containers, ended ones too."""
        return self.run("ps", "--all", "--format", "{{.Names}}").split()

    def inspect(self, name: str) -> dict[str, Any]:
        """Return what the engine knows of a container."""
        found: list[dict[str, Any]] = json.loads(self.run("inspect", urllib.parse.quote(name)))
        return found[0]

    def _command(self, *words: str) -> list[str]:
        # vfs: the image is small, and nothing is left mounted.
        return ["podman", *self._storage, "--storage-driver", "vfs", *words]

    def _import(self) -> None:
        archive = self.directory / "image.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(shutil.which("busybox") or "/bin/busybox", "bin/busybox")
            for name in APPLETS:
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            asking = tarfile.TarInfo("bin/claude")
            asking.mode, asking.size = 0o755, len(ASKING)
            tar.addfile(asking, io.BytesIO(ASKING.encode()))
            for name in ("tmp", "run", "proc", "sys", "dev", "etc"):
                place = tarfile.TarInfo(name)
                place.type, place.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
                tar.addfile(place)
        self.run("import", str(archive), IMAGE)

    def _prove(self) -> None:
        """Run one container: an engine that serves may still not be allowed to."""
        self.run("run", "--rm", "--network=none", IMAGE, "/bin/true")

    def _last_words(self) -> str:
        return (self.directory / "service.log").read_text().strip().splitlines()[-1:][0]


def missing() -> list[str]:
    """Return the packages that are not here."""
    programs = {"podman": "podman", "runc": "runc", "catatonit": "catatonit", "busybox-static": "busybox"}
    return [package for package, program in programs.items() if not shutil.which(program)]
