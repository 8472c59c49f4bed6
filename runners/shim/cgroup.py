"""The memory control group of a container: whether the kernel killed in it."""

import os
from typing import Optional

ROOT = "/sys/fs/cgroup"


class Cgroup:
    """The file in which the kernel counts its kills for want of memory; v1 and v2 name it differently."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.killed = False

    @classmethod
    def of(cls, pid: int) -> Optional["Cgroup"]:
        """Return the group of this process, or None where it has none that we can read."""
        try:
            with open(f"/proc/{pid}/cgroup") as file:
                lines = [line.rstrip("\n").split(":", 2) for line in file]
        except OSError:
            return None
        candidates = [
            f"{ROOT}/memory{path}/memory.oom_control" for _, names, path in lines if "memory" in names.split(",")
        ] + [f"{ROOT}{path}/memory.events" for _, names, path in lines if not names]
        return next((cls(path) for path in candidates if os.path.exists(path)), None)

    def look(self) -> None:
        """Note whether there was a kill; once the group is gone, what was noted stays."""
        try:
            with open(self._path) as file:
                counts = dict(line.split() for line in file)
        except (OSError, ValueError):
            return
        self.killed = self.killed or int(counts.get("oom_kill", 0)) > 0
