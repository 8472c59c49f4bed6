"""The fake provider in the words of OpenAI and of Gemini."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fake_models import Answer, Cut, ModelServer, Refusal, Thinking, ToolCall, Usage
from tests.fake_models.gemini import GenerateContent
from tests.fake_models.openai import ChatCompletions, Responses

RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
GEMINI, GEMINI_STREAM = "/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent?alt=sse"

ANSWER = Answer(
    Thinking("Hm."),
    "Hello there.",
    ToolCall("shell", {"command": "ls"}, id="t1"),
    usage=Usage(input_tokens=3, output_tokens=8, cache_read_tokens=5, reasoning_tokens=2),
)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer([Responses(), ChatCompletions(), GenerateContent()]) as server:
        yield server


def ask(server: ModelServer, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json={"model": "m", **body}, timeout=10)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_responses_says_the_same_whole_and_streamed(server: ModelServer) -> None:
    server.script(ANSWER, ANSWER)
    whole, streamed = ask(server, RESPONSES).json(), events(ask(server, RESPONSES, stream=True))

    assert [item["type"] for item in whole["output"]] == ["reasoning", "message", "function_call"]
    pieces = [event["delta"] for event in streamed if event["type"] == "response.output_text.delta"]
    assert "".join(pieces) == whole["output"][1]["content"][0]["text"] == "Hello there."
    done = [event["item"] for event in streamed if event["type"] == "response.output_item.done"]
    assert json.loads(done[2]["arguments"]) == {"command": "ls"}
    assert done[2]["call_id"] == "t1"
    assert streamed[-1]["response"]["usage"] == whole["usage"]
    assert (whole["usage"]["input_tokens"], whole["usage"]["output_tokens"]) == (8, 8)
    assert server.usage_by_model == {"m": ANSWER.usage + ANSWER.usage}


def test_chat_says_the_same_whole_and_streamed(server: ModelServer) -> None:
    server.script(ANSWER, ANSWER)
    whole, streamed = ask(server, CHAT).json(), events(ask(server, CHAT, stream=True))

    message = whole["choices"][0]["message"]
    deltas = [event["choices"][0]["delta"] for event in streamed if event["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"] == "Hello there."
    calls = [call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls", [])]
    assert "".join(calls) == message["tool_calls"][0]["function"]["arguments"] == '{"command": "ls"}'
    assert streamed[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"] == "tool_calls"
    assert streamed[-1]["usage"] == whole["usage"]
    assert whole["usage"]["prompt_tokens_details"] == {"cached_tokens": 5}


def test_gemini_says_the_same_whole_and_streamed(server: ModelServer) -> None:
    server.script(ANSWER, ANSWER)
    whole, streamed = ask(server, GEMINI).json(), events(ask(server, GEMINI_STREAM))

    parts = [part for event in streamed for part in event["candidates"][0]["content"]["parts"]]
    said = [part["text"] for part in parts if "text" in part and not part.get("thought")]
    assert "".join(said) == "Hello there."
    assert parts[-1] == whole["candidates"][0]["content"]["parts"][-1]
    assert parts[-1]["functionCall"]["args"] == {"command": "ls"}
    usage = whole["usageMetadata"]
    assert streamed[-1]["usageMetadata"] == usage
    assert streamed[0]["usageMetadata"]["candidatesTokenCount"] == 1, "not final yet"
    assert usage["totalTokenCount"] == 16
    assert usage["candidatesTokenCount"] + usage["thoughtsTokenCount"] == 8


@pytest.mark.parametrize("path", [RESPONSES, CHAT, GEMINI_STREAM])
@pytest.mark.parametrize("status", [401, 429, 529])
def test_errors_are_told_in_the_providers_form(server: ModelServer, path: str, status: int) -> None:
    server.script(Refusal(status=status, message="No.", retry_after_seconds=2))
    response = ask(server, path, stream=True)
    assert (response.status_code, response.json()["error"]["message"]) == (status, "No.")
    assert response.headers["retry-after"] == "2"
    assert server.usage_total == Usage()


@pytest.mark.parametrize("path", [RESPONSES, CHAT, GEMINI_STREAM])
def test_a_cut_connection_ends_in_the_middle(server: ModelServer, path: str) -> None:
    server.script(Cut(ANSWER, events=2))
    with pytest.raises(httpx.RemoteProtocolError):
        ask(server, path, stream=True)
    assert server.usage_total == Usage()


def test_a_websocket_is_refused_so_that_http_is_used(server: ModelServer) -> None:
    assert httpx.get(f"{server.url}{RESPONSES}").status_code == 426


def test_gemini_counts_tokens_as_a_probe(server: ModelServer) -> None:
    assert ask(server, "/v1beta/models/m:countTokens").json()["totalTokens"] >= 0
    assert server.requests == []
