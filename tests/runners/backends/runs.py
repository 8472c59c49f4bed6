"""Start runs of one backend's program, each as a runner would, in an environment of their own."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runners.backends.base import Backend
from runners.models import Runner, Session
from tests.runners.backends.telemetry import Ledger, Process


class Runs:
    """Starts runs of a conversation; `close` ends those that a failed test has left."""

    def __init__(
        self, backend: Backend, path: str, session: Session, *, worktree: Path, home: Path, model: str
    ) -> None:
        self.backend, self.path, self.session, self.model = backend, path, session, model
        self.worktree, self.home = worktree, home
        self.environment: dict[str, str] = {"PATH": os.environ["PATH"], "HOME": str(home)}
        self.processes: list[Process] = []

    def start(
        self, prompt: str = "Please make a file.", *, env: Mapping[str, str] | None = None, **fields: Any
    ) -> Process:
        """Start one run; `fields` are those of its runner."""
        # The home is the launch's: where the program keeps its conversations is found by it.
        fields["environment"] = {"HOME": str(self.home), **fields.get("environment", {})}
        runner = Runner(**{"session": self.session, "prompt": prompt, "model": self.model, **fields})
        command = self.backend.command(runner, self.path)
        environment = {**self.environment, **command.env, **runner.environment, **(env or {})}
        self.processes.append(Process(command, env=environment, cwd=self.worktree))
        return self.processes[-1]

    def ledger(self) -> Ledger:
        """Return the rows of a session before its first run."""
        return Ledger(state={"model": self.model})

    def run(self, prompt: str = "Please make a file.", **fields: Any) -> Ledger:
        """Return what one whole run told, and let the session know its program's own id, as the database would."""
        ledger = self.ledger().take(self.backend, self.start(prompt, **fields).finish())
        self.remember(ledger)
        return ledger

    def remember(self, ledger: Ledger) -> None:
        """Let the session know its program's own id, as the database would."""
        if ledger.sessions:
            self.session.external_id = ledger.sessions[-1].external_id

    def close(self) -> None:
        for process in self.processes:
            process.kill()
