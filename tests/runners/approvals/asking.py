"""Runners whose program asks, without a process."""

from typing import Any

from runners.models import Approval, Runner
from tests.runners.factories import make_project
from tests.runners.teller import STARTED, hand_over, report, starting


def asking_runner(**fields: Any) -> Runner:
    """Make a runner that has started and may ask."""
    fields.setdefault("project", make_project())
    runner = starting(approvals="ask", **fields)
    hand_over(runner, STARTED)
    return Runner.objects.select_related("project", "node", "session").get(pk=runner.pk)


def ask(runner: Runner, request_id: str = "q1", *, tool: str = "Bash", start: int = 10, **tool_input: Any) -> Approval:
    """Hand over that the runner's program asks, and return the question."""
    tool_input = tool_input or {"command": "git push"}
    hand_over(runner, report(ask=request_id, tool=tool, input=tool_input), start=start)
    return Approval.objects.get(runner=runner, request_id=request_id)
