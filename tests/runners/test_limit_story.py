"""The real Claude Code CLI meets a subscription's limit, gives up, and goes on by itself when that is over."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runners.backends.base import LaunchRequest
from runners.models import Message, ProviderLimit, Runner
from runners.services import launch_runner
from tests.fake_models.answers import Answer, Refusal, Reply, ToolCall
from tests.fake_models.fixture import model_server
from tests.fake_models.server import ModelServer, Request
from tests.runners.factories import make_project
from tests.stack import Stack, wait_until

__all__ = ["model_server"]

pytestmark = pytest.mark.claude
#: Long enough for a busy machine to see it before it is over.
LIMIT_SECONDS = 40


class Subscription:
    """Answers a first request, refuses the next until its limit is reset, as the provider does for subscriptions."""

    def __init__(self) -> None:
        self.resets_at = 0

    def first(self, _: Request) -> Reply:
        return Answer("I shall write it.", ToolCall("Bash", {"command": "echo one > made.txt"}))

    def later(self, _: Request) -> Reply:
        self.resets_at = self.resets_at or int(time.time()) + LIMIT_SECONDS
        if time.time() >= self.resets_at:
            return Answer("Now it is done.")
        limit = {"status": "rejected", "reset": str(self.resets_at), "representative-claim": "five_hour"}
        headers = {f"anthropic-ratelimit-unified-{name}": value for name, value in limit.items()}
        return Refusal(status=429, message="You have used it up.", headers=headers)


def test_who_gave_up_and_who_came_later_go_on_when_the_limit_is_over(
    make_stack: Callable[..., Stack], claude_code_path: str, model_server: ModelServer, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    stack = make_stack(
        PATH=f"{Path(claude_code_path).parent}:{os.environ['PATH']}",
        HOME=str(tmp_path / "home"),
        ANTHROPIC_BASE_URL=model_server.url,
        CLAUDE_CODE_OAUTH_TOKEN="not-a-token",
        CLAUDE_CODE_MAX_RETRIES="0",
    )
    stack.start_runners()
    subscription = Subscription()
    model_server.script(subscription.first, *[subscription.later] * 50)
    project = make_project()
    asked = LaunchRequest(
        backend="claude_code",
        prompt="Write made.txt",
        model="claude-sonnet-4-5",
        flags=["--allowedTools=Bash"],
        on_limit="wait",
    )
    runner = launch_runner(project.name, asked, actor="user:ada")
    runner = stack.wait_for(runner, "failed", "terminated")
    limit = ProviderLimit.objects.get()
    assert (runner.status, runner.restart_at, int(limit.until.timestamp())) == (
        "failed",
        limit.until,
        subscription.resets_at,
    )
    assert limit.is_told
    assert "not-a-token" not in f"{limit.credential} {limit.label}"
    later = launch_runner(project.name, asked, actor="user:ada")
    assert later.status == "queued"
    assert later.reason.startswith("waits: provider limit of Claude Code with key ")

    def done() -> list[Runner] | None:
        ended = Runner.objects.filter(project=project, status="terminated").order_by("created_at")
        return list(ended) if ended.count() == 2 else None

    first, second = wait_until(done, "both have done their work", 150)
    assert (first.generation, first.resumed, second.generation) == (2, True, 1)
    assert first.started_at is not None
    assert first.started_at >= limit.until
    assert second.started_at is not None
    assert second.started_at >= limit.until
    said = Message.objects.filter(session=first.session_id, role="assistant").order_by("pk")
    assert said.last().text == "Now it is done."  # type: ignore[union-attr]
