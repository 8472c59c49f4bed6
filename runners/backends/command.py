"""Backend `command`: any program, by its argument vector, on a terminal."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from runners.backends.base import Backend, Command, Fact, LaunchRequest
from runners.backends.reports import read_report
from runners.exceptions import InvalidRequest


class CommandBackend(Backend):
    """Runs the argv it is given. There is no shell: name one, `["sh", "-c", "..."]`, where you want one."""

    name: ClassVar[str] = "command"
    label: ClassVar[str] = "Command"

    def check(self, request: LaunchRequest) -> None:
        if not request.argv:
            raise InvalidRequest("The command backend needs an argv: the program and its arguments.", field="argv")
        # The caller's JSON is not bound to our types.
        if not all(isinstance(part, str) for part in request.argv):
            raise InvalidRequest("Every part of argv must be a text.", field="argv")
        program = request.argv[0]
        if not program.strip() or (os.sep in program and not Path(program).is_absolute()):
            raise InvalidRequest(
                f"The first part of argv must be a program on PATH or an absolute path, not {program!r}.", field="argv"
            )
        super().check(request)

    def find_for(self, request: Any) -> str | None:
        """Return the path of argv[0] if it can be executed: looked up on PATH unless it is absolute.

        A PATH among the launch's own variables is the one that counts, as it would for the program itself.
        """
        path: str | None = request.environment.get("PATH")
        return shutil.which(str(request.argv[0]), path=path)

    def command(self, runner: Any, program: str) -> Command:
        # A terminal hands over a line when it ends.
        prompt = f"{runner.prompt.rstrip()}\n" if runner.prompt.strip() else ""
        return Command(argv=[program, *runner.argv[1:]], tty=True, stdin=prompt)

    def read(self, record: Mapping[str, Any], state: dict[str, Any]) -> Iterable[Fact]:
        return read_report(record, state)
