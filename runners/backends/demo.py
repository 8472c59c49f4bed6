"""Backend `demo`: the scripted agent that ships with Stratavore. It needs no model, no key and no network."""

import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import runners
from runners.backends.base import Backend, Command, Fact, FlagRule, number
from runners.backends.reports import read_report

SCRIPT = Path(runners.__file__).parent / "demo_agent.py"


class DemoBackend(Backend):
    """Runs demo_agent.py on a terminal, with the Python that runs Stratavore."""

    name: ClassVar[str] = "demo"
    label: ClassVar[str] = "Demo agent"
    in_container: ClassVar[bool] = False
    allowed_flags: ClassVar[Mapping[str, bool]] = {
        "--fail": False,
        "--flood": True,
        "--seconds": True,
        "--steps": True,
        "--talk": False,
        "--tokens": True,
    }
    flag_rules: ClassVar[Mapping[str, FlagRule]] = {
        "--flood": number(int, 0, 1_000_000_000),
        "--seconds": number(float, 0, 86_400),
        "--steps": number(int, 1, 1000),
        "--tokens": number(int, 0, 1_000_000_000),
    }

    def find(self) -> str | None:
        return sys.executable

    def version(self, path: str) -> str:
        return platform.python_version()

    def command(self, runner: Any, program: str) -> Command:
        # -I -S: nothing of the workspace, the environment or site-packages is imported.
        argv = [program, "-I", "-S", str(SCRIPT)]
        if runner.prompt.strip():
            argv.append(f"--task={runner.prompt.strip()}")
        return Command(argv=[*argv, *runner.flags], tty=True)

    def read(self, record: Mapping[str, Any], state: dict[str, Any]) -> Iterable[Fact]:
        return read_report(record, state)
