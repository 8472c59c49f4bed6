"""The real Claude Code CLI asks before it acts, through every real process, with a fake model provider at its end."""

import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from runners.models import Approval, ApprovalRule, ApprovalTerms, Observation, Project, Runner
from runners.services import stop_runner
from tests.fake_models.answers import Answer, ToolCall
from tests.fake_models.fixture import model_server
from tests.fake_models.server import ModelServer
from tests.runners.factories import make_project
from tests.runners.test_claude_story import claude_stack, signed_in
from tests.stack import Stack, wait_until

__all__ = ["claude_stack", "model_server"]

pytestmark = pytest.mark.claude


def launch(api: httpx.Client, project: Project) -> Runner:
    body = {
        "project": project.name,
        "backend": "claude_code",
        "prompt": "Do it",
        "model": "claude-sonnet-4-5",
        "approvals": "ask",
    }
    answer = api.post("/runners/", json=body)
    assert answer.status_code == 201, answer.text
    return Runner.objects.get(pk=answer.json()["id"])


def bash(command: str) -> ToolCall:
    return ToolCall("Bash", {"command": command, "description": "Do it"})


def asked(runner: Runner, count: int, **state: str) -> Approval:
    """Wait until so many questions were asked, and return the last one."""

    def last() -> Approval | None:
        found = Approval.objects.filter(runner=runner).order_by("asked_at", "pk")
        return found.filter(**state).last() if found.count() >= count else None

    return wait_until(last, f"{count} questions, the last one {state}")


def test_people_allow_and_deny_whatever_dies_in_between(claude_stack: Stack, model_server: ModelServer) -> None:
    model_server.script(
        Answer("I shall write it.", bash("echo made by bash > made.txt")),
        Answer("And remove it.", ToolCall("Write", {"file_path": "other.txt", "content": "x"})),
        Answer("Then not."),
    )
    project = make_project()
    with signed_in(claude_stack) as api:
        runner = launch(api, project)
        first = asked(runner, 1, state="waiting")
        assert api.get(f"/runners/{runner.pk}/").json()["observation"]["activity"] == "needs_approval"
        assert not (Path(project.path) / "made.txt").exists()
        for name in ("node agent", "web", "node worker", "worker"):
            claude_stack.kill(name)
        claude_stack.start("web")  # nobody but the web is there when people answer
        answers = both(api, f"/approvals/{first.pk}/decide/", {"decision": "allow"}, {"decision": "deny"})
        faster, slower = sorted(answers, key=lambda answer: answer.status_code)
        assert (faster.status_code, slower.status_code) == (200, 409)
        assert (slower.json()["type"], slower.json()["state"]) == ("/problems/approval_settled", faster.json()["state"])
        claude_stack.start("worker", "node worker", "node agent")
        second = asked(runner, 2, state="waiting")
        assert (faster.json()["state"] == "allowed") == (Path(project.path) / "made.txt").exists()
        told = api.post(f"/approvals/{second.pk}/decide/", json={"decision": "deny", "message": "Keep it, please."})
        assert told.status_code == 200, told.text
        runner = claude_stack.wait_for(runner, "terminated", "failed")

    assert (runner.status, runner.reason) == ("terminated", "exited")
    assert not (Path(project.path) / "other.txt").exists()
    assert "Keep it, please." in model_server.requests[-1].text
    assert set(Approval.objects.filter(delivered_at__isnull=False).values_list("pk", flat=True)) == {
        first.pk,
        second.pk,
    }


def both(api: httpx.Client, path: str, *bodies: dict[str, Any]) -> list[httpx.Response]:
    """Post all at the same moment, each on a connection of its own."""
    answers: list[httpx.Response] = []
    gate = threading.Barrier(len(bodies))

    def post(body: dict[str, Any]) -> None:
        with httpx.Client(base_url=api.base_url, headers=api.headers) as own:
            gate.wait()
            answers.append(own.post(path, json=body))

    threads = [threading.Thread(target=post, args=[body]) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_rules_answer_first_then_the_clock_and_a_stop_ends_the_rest(
    claude_stack: Stack, model_server: ModelServer
) -> None:
    model_server.script(
        Answer(bash("touch ruled.txt")), Answer(bash("rm ruled.txt")), Answer(bash("mv ruled.txt away.txt"))
    )
    project = make_project()
    ApprovalRule.objects.create(position=1, effect="allow", tool="Bash", pattern="touch *", created_by="tests")
    terms = ApprovalTerms.objects.create(project=project, expires_seconds=2, message="Nobody is here.")
    with signed_in(claude_stack) as api:
        runner = launch(api, project)
        ruled = asked(runner, 1, state="allowed")
        asked(runner, 2)
        ApprovalTerms.objects.filter(pk=terms.pk).update(expires_seconds=3600)
        expired = asked(runner, 2, state="expired")
        waiting = asked(runner, 3, state="waiting")
        stop_runner(runner.pk, actor="user:ada")
        runner = claude_stack.wait_for(runner, "terminated", "failed")
        late = api.post(f"/approvals/{waiting.pk}/decide/", json={"decision": "allow"})

    assert (ruled.rule_text, ruled.decided_by) == ("allow Bash(touch *)", "system:rule")
    assert (Path(project.path) / "ruled.txt").exists()
    assert expired.message == "Nobody is here."
    assert "Nobody is here." in model_server.requests[-1].text
    assert runner.status == "terminated"
    assert (late.status_code, late.json()["state"]) == (409, "withdrawn")
    assert Observation.objects.get(runner=runner).activity == ""
