"""What Claude Code asks, as lines: seen with 2.1.330."""

import json
from typing import Any

import pytest

from runners.backends.base import ApprovalFact, LaunchRequest, StateFact
from runners.backends.claude_code import ClaudeCodeBackend
from runners.backends.claude_terminal import ClaudeTerminalBackend
from runners.exceptions import InvalidRequest
from runners.models import Runner, Session

BACKEND = ClaudeCodeBackend()
REQUEST = {
    "subtype": "can_use_tool",
    "tool_name": "Bash",
    "input": {"command": "touch a1", "description": "Do it"},
    "permission_suggestions": [
        {"type": "setMode", "mode": "acceptEdits", "destination": "session"},
        {
            "type": "addRules",
            "rules": [{"toolName": "Bash", "ruleContent": "touch a1 *"}],
            "behavior": "allow",
            "destination": "localSettings",
        },
    ],
    "tool_use_id": "toolu_1",
}


def line(**content: Any) -> dict[str, Any]:
    return {"t": 5.0, "kind": "line", "stream": "stdout", "text": json.dumps(content)}


def read(state: dict[str, Any], *records: dict[str, Any]) -> list[Any]:
    return [fact for record in records for fact in BACKEND.read(record, state)]


def asks(request_id: str = "r1", **changes: Any) -> dict[str, Any]:
    return line(type="control_request", request_id=request_id, request={**REQUEST, **changes})


def test_a_question_is_read_and_the_answer_is_one_line() -> None:
    question, about = read({}, asks())
    assert isinstance(question, ApprovalFact)
    assert (question.request_id, question.tool_name, question.proposed_pattern) == ("r1", "Bash", "touch a1 *")
    assert question.tool_input == REQUEST["input"]
    assert isinstance(about, StateFact)
    assert (about.activity, about.note) == ("needs_approval", "Bash: touch a1")

    allowed, denied = (BACKEND.answer("r1", allow=allow, message="No.\nNever.") for allow in (True, False))
    assert allowed.count("\n") == denied.count("\n") == 1
    assert json.loads(allowed)["response"]["response"] == {"behavior": "allow"}
    assert json.loads(denied)["response"]["response"] == {"behavior": "deny", "message": "No.\nNever."}
    assert json.loads(denied)["response"]["request_id"] == "r1"


def test_it_works_again_once_the_last_answer_went_in() -> None:
    state: dict[str, Any] = {}
    read(state, asks("r1"), asks("r2"))
    assert read(state, {"t": 6.0, "kind": "given", "once": "r1"}) == []
    [about] = read(state, {"t": 7.0, "kind": "given", "once": "r2"})
    assert about.activity == "working"
    assert read(state, {"t": 8.0, "kind": "given", "once": "something else"}) == []


def test_a_question_that_is_taken_back_is_no_question_any_more() -> None:
    state: dict[str, Any] = {}
    read(state, asks())
    taken, about = read(state, line(type="control_cancel_request", request_id="r1"))
    assert (taken.request_id, taken.withdrawn, about.activity) == ("r1", True, "working")


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "control_request"},
        {"type": "control_request", "request_id": 5, "request": REQUEST},
        {"type": "control_request", "request_id": "r", "request": "x"},
        {"type": "control_request", "request_id": "r", "request": {"subtype": "hook_callback"}},
        {"type": "control_request", "request_id": "r", "request": {**REQUEST, "input": None, "tool_name": None}},
        {"type": "control_request", "request_id": "r", "request": {**REQUEST, "permission_suggestions": [None, 5]}},
        {"type": "control_cancel_request"},
    ],
)
def test_nothing_odd_that_is_asked_is_an_error(odd: dict[str, Any]) -> None:
    for fact in read({}, line(**odd)):
        assert isinstance(fact, ApprovalFact | StateFact)


def test_it_asks_only_if_it_was_launched_so() -> None:
    about = {"session": Session(), "prompt": 'Say "hi"\n', "generation": 1}
    silent = BACKEND.command(Runner(**about), "claude")
    asking = BACKEND.command(Runner(**about, approvals="ask", flags=["--max-turns=3"]), "claude")
    assert "--permission-prompt-tool" not in silent.argv
    assert (silent.stdin, silent.input_until) == ('Say "hi"\n', None)
    assert asking.argv[-3:] == ["--permission-prompt-tool", "stdio", "--max-turns=3"]
    assert asking.input_until == {"type": "result"}
    assert json.loads(asking.stdin)["message"] == {"role": "user", "content": 'Say "hi"\n'}


def test_a_program_that_cannot_ask_is_not_launched_to() -> None:
    request = LaunchRequest(backend="claude_terminal", prompt="x", approvals="ask")
    with pytest.raises(InvalidRequest, match="cannot ask for approval"):
        ClaudeTerminalBackend().check(request)
