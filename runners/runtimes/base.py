"""What a runtime is: the place where a runner's process lives, and how it is reached there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class StartFailed(Exception):
    """The shim did not come up; nothing runs, and starting again is safe."""


class Runtime(Protocol):
    """Starts and steers the process of one attempt, known by its run directory. Every verb may be repeated."""

    def start(self, run_dir: Path, spec: Mapping[str, Any]) -> None:
        """Start the attempt unless it was started before. Returns once the agent runs, or its failure is on record."""

    def is_alive(self, run_dir: Path) -> bool:
        """Say whether the attempt's supervisor lives."""

    def status(self, run_dir: Path) -> dict[str, Any]:
        """Return what the supervisor tells of its agent. Raises ShimGone."""

    def stop(self, run_dir: Path, *, grace_seconds: float, reason: str) -> None:
        """Ask the attempt to end; one that never started never will. Does not wait for the end."""

    def kill(self, run_dir: Path, *, reason: str) -> None:
        """End the attempt at once. Raises ShimGone."""

    def pause(self, run_dir: Path) -> None:
        """Suspend all of the attempt's processes. Raises ShimGone."""

    def resume(self, run_dir: Path) -> None:
        """Let them go on. Raises ShimGone."""

    def input(self, run_dir: Path, data: str | bytes, *, once: str = "") -> None:
        """Type into the agent; with a key in `once`, no second time under it. Raises ShimGone, ShimRefused."""

    def resize(self, run_dir: Path, *, columns: int, rows: int) -> None:
        """Change the agent's terminal. Raises ShimGone, ShimRefused."""

    def record_lost(self, run_dir: Path) -> bool:
        """Record the end of an attempt whose supervisor died without doing so; return whether it was needed."""

    def tell_end(self, run_dir: Path) -> bool:
        """Tell the recorded end of an attempt whose supervisor had no room to; return whether it was needed."""
