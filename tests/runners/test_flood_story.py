"""One agent that tells more than a database can take must not keep the others of its node waiting."""

from pathlib import Path

import pytest

from runners.backends.base import LaunchRequest
from runners.services import launch_runner, stop_runner
from tests.runners.factories import make_project
from tests.stack import Stack

#: Writes reports as fast as the pipe takes them, for ever.
FLOOD = """
import os
line = b'{"type": "message", "text": "' + b'x' * 200 + b'"}\\n'
with open(os.environ["STRATAVORE_REPORT"], "wb", buffering=0) as out:
    print("ready", flush=True)
    while True: out.write(line * 15)
"""


@pytest.mark.django_db(transaction=True)
def test_others_are_heard_while_one_floods(stack: Stack) -> None:
    project = make_project(quota=10)
    (Path(project.path) / "flood.py").write_text(FLOOD)

    def launch(*argv: str) -> LaunchRequest:
        return LaunchRequest(backend="command", argv=list(argv))

    flood = launch_runner(project.name, launch("python3", "flood.py"), actor="user:ada")
    stack.wait_for(flood, "running")
    for _ in range(3):
        other = launch_runner(project.name, launch("true"), actor="user:ada")
        stack.wait_for(other, "terminated")
    assert stack.wait_for(flood, "running")
    stop_runner(flood.pk, actor="user:ada", grace_seconds=0)
