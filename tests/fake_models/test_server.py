"""The fake provider says what real clients of the interface expect."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fake_models import Answer, Cut, ModelServer, Refusal, Request, ToolCall, Usage
from tests.fake_models.anthropic import Messages


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer([Messages()]) as server:
        yield server


def ask(server: ModelServer, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/messages", json={"model": "m", "messages": [], **body}, timeout=10)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]


def test_a_whole_answer_and_a_streamed_one_say_the_same(server: ModelServer) -> None:
    tokens = Usage(input_tokens=3, output_tokens=8, cache_read_tokens=5, cache_write_tokens=7)
    answer = Answer("Hello there.", ToolCall("Bash", {"command": "ls"}, id="t1"), usage=tokens)
    server.script(answer, answer)
    whole, streamed = ask(server).json(), events(ask(server, stream=True))

    pieces: dict[int, str] = {}
    for event in streamed:
        if event["type"] == "content_block_delta":
            delta = event["delta"]
            pieces[event["index"]] = pieces.get(event["index"], "") + delta.get("text", delta.get("partial_json", ""))
    assert pieces[0] == whole["content"][0]["text"] == "Hello there."
    assert json.loads(pieces[1]) == whole["content"][1]["input"] == {"command": "ls"}
    assert streamed[0]["message"]["usage"]["output_tokens"] == 1, "not final yet"
    assert streamed[-2]["usage"] == whole["usage"]
    assert streamed[-2]["delta"]["stop_reason"] == whole["stop_reason"] == "tool_use"
    assert server.usage_by_model == {"m": tokens + tokens}


def test_a_script_may_look_at_the_request_and_its_end_is_answered_too(server: ModelServer) -> None:
    def echo(request: Request) -> Answer:
        return Answer(f"You are {request.headers['x-me']}.")

    server.script(echo)
    heard = httpx.post(f"{server.url}/v1/messages", json={"model": "m"}, headers={"x-me": "it"}).json()
    assert heard["content"][0]["text"] == "You are it."
    assert ask(server).status_code == 200
    assert [request.model for request in server.requests] == ["m", "m"]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "authentication_error"), (429, "rate_limit_error"), (529, "overloaded_error")]
)
def test_errors_have_the_providers_words(server: ModelServer, status: int, kind: str) -> None:
    server.script(Refusal(status=status, retry_after_seconds=2))
    response = ask(server, stream=True)
    assert (response.status_code, response.json()["error"]["type"]) == (status, kind)
    assert response.headers["retry-after"] == "2"
    assert server.usage_total == Usage()


def test_a_cut_connection_ends_in_the_middle(server: ModelServer) -> None:
    server.script(Cut(Answer("Never whole."), events=3))
    with pytest.raises(httpx.RemoteProtocolError):
        ask(server, stream=True)
    assert server.usage_total == Usage()


def test_probes_are_noted_apart(server: ModelServer) -> None:
    assert httpx.head(server.url).status_code == 200
    assert httpx.get(f"{server.url}/unknown").status_code == 404
    assert httpx.post(f"{server.url}/v1/messages/count_tokens", json={}).json()["input_tokens"] >= 0
    assert server.probes == ["HEAD /", "GET /unknown", "POST /v1/messages/count_tokens"]
    assert server.requests == []
