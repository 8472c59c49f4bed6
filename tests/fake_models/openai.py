"""OpenAI's two interfaces: POST /v1/responses and POST /v1/chat/completions, streamed or whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from tests.fake_models.answers import Answer, Block, Refusal, Text, Thinking, ToolCall, Usage
from tests.fake_models.server import ModelServer

_numbers = itertools.count(1)

#: https://platform.openai.com/docs/guides/error-codes: (type, code)
ERROR_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", "server_is_overloaded"),
}


class Responses:
    """The Responses API, which Codex speaks."""

    name = "openai-responses"

    def routes(self, server: ModelServer) -> Iterable[web.RouteDef]:
        async def responses(http: web.Request) -> web.StreamResponse:
            return await server.answer(self, http)

        async def no_websocket(http: web.Request) -> web.StreamResponse:
            server.probes.append("GET /v1/responses")
            return web.Response(status=426)  # Codex asks for a WebSocket first; "Upgrade Required": use HTTP

        return [web.post("/v1/responses", responses), web.get("/v1/responses", no_websocket)]

    def whole(self, answer: Answer, model: str) -> dict[str, Any]:
        return {
            **_response(model, "completed"),
            "output": [_item(block) for block in answer.blocks],
            "usage": _responses_usage(answer.usage),
        }

    def events(self, answer: Answer, model: str) -> list[bytes]:
        whole = self.whole(answer, model)
        numbers = itertools.count()
        started = {**whole, "status": "in_progress", "output": [], "usage": None}
        items = [_item_events(index, item, numbers) for index, item in enumerate(whole["output"])]
        return [
            _event(numbers, "response.created", response=started),
            _event(numbers, "response.in_progress", response=started),
            *itertools.chain.from_iterable(items),
            _event(numbers, "response.completed", response=whole),
        ]

    def refusal(self, refusal: Refusal) -> dict[str, Any]:
        return _refusal(refusal)


class ChatCompletions:
    """The Chat Completions API, which OpenCode speaks to compatible providers."""

    name = "openai-chat"

    def routes(self, server: ModelServer) -> Iterable[web.RouteDef]:
        async def completions(http: web.Request) -> web.StreamResponse:
            return await server.answer(self, http)

        return [web.post("/v1/chat/completions", completions)]

    def whole(self, answer: Answer, model: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": _joined(answer)}
        if answer.calls_tools:
            message["tool_calls"] = _calls(answer)
        choice = {"index": 0, "message": message, "finish_reason": _finish_reason(answer)}
        return {**_completion("chat.completion", model), "choices": [choice], "usage": _chat_usage(answer.usage)}

    def events(self, answer: Answer, model: str) -> list[bytes]:
        base = _completion("chat.completion.chunk", model)
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": part} for part in _parts(_joined(answer))]
        for index, call in enumerate(_calls(answer)):
            deltas += _call_deltas(index, call)
        chunks = [_chunk(base, delta, None) for delta in deltas]
        chunks.append(_chunk(base, {}, _finish_reason(answer)))
        # The tokens come last, in a chunk without choices (stream_options.include_usage).
        usage = {**base, "choices": [], "usage": _chat_usage(answer.usage)}
        return [*chunks, _data(usage), b"data: [DONE]\n\n"]

    def refusal(self, refusal: Refusal) -> dict[str, Any]:
        return _refusal(refusal)


def _refusal(refusal: Refusal) -> dict[str, Any]:
    kind, code = ERROR_TYPES.get(refusal.status, ("server_error", None))
    return {"error": {"message": refusal.message, "type": kind, "param": None, "code": code}}


def _response(model: str, status: str) -> dict[str, Any]:
    return {
        "id": f"resp_fake{next(_numbers):06d}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": model,
        "error": None,
        "incomplete_details": None,
        "parallel_tool_calls": True,
        "tools": [],
    }


def _item(block: Block) -> dict[str, Any]:
    number = f"fake{next(_numbers):06d}"
    match block:
        case Text():
            content = [{"type": "output_text", "text": block.text, "annotations": []}]
            return {
                "id": f"msg_{number}",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": content,
            }
        case Thinking():
            summary = [{"type": "summary_text", "text": block.text}]
            return {"id": f"rs_{number}", "type": "reasoning", "summary": summary}
        case ToolCall():
            return {
                "id": f"fc_{number}",
                "type": "function_call",
                "status": "completed",
                "call_id": block.id,
                "name": block.name,
                "arguments": json.dumps(dict(block.input)),
            }


def _item_events(index: int, item: dict[str, Any], numbers: Iterable[int]) -> Iterable[bytes]:
    place = {"output_index": index, "item_id": item["id"]}
    match item["type"]:
        case "message":
            text, empty = item["content"][0]["text"], {**item, "status": "in_progress", "content": []}
            pieces = [("response.output_text.delta", {"content_index": 0, "delta": part}) for part in _parts(text)]
            pieces.append(("response.output_text.done", {"content_index": 0, "text": text}))
        case "reasoning":
            text, empty = item["summary"][0]["text"], {**item, "summary": []}
            pieces = [("response.reasoning_summary_text.delta", {"summary_index": 0, "delta": text})]
        case _:
            text, empty = item["arguments"], {**item, "status": "in_progress", "arguments": ""}
            pieces = [("response.function_call_arguments.delta", {"delta": part}) for part in _parts(text)]
            pieces.append(("response.function_call_arguments.done", {"arguments": text}))
    yield _event(numbers, "response.output_item.added", output_index=index, item=empty)
    for kind, fields in pieces:
        yield _event(numbers, kind, **place, **fields)
    yield _event(numbers, "response.output_item.done", output_index=index, item=item)


def _responses_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }


def _chat_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens": usage.output_tokens,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }


def _completion(kind: str, model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-fake{next(_numbers):06d}", "object": kind, "created": 1_700_000_000, "model": model}


def _joined(answer: Answer) -> str:
    return "".join(block.text for block in answer.blocks if isinstance(block, Text))


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": block.id,
            "type": "function",
            "function": {"name": block.name, "arguments": json.dumps(dict(block.input))},
        }
        for block in answer.blocks
        if isinstance(block, ToolCall)
    ]


def _call_deltas(index: int, call: dict[str, Any]) -> Iterable[dict[str, Any]]:
    function = call["function"]
    yield {"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]}
    for part in _parts(function["arguments"]):
        yield {"tool_calls": [{"index": index, "function": {"arguments": part}}]}


def _finish_reason(answer: Answer) -> str:
    return "tool_calls" if answer.calls_tools else "stop"


def _chunk(base: dict[str, Any], delta: dict[str, Any], finish_reason: str | None) -> bytes:
    return _data({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


def _parts(text: str) -> list[str]:
    """Cut a text in two, so that clients must put it together again."""
    middle = len(text) // 2
    return [part for part in (text[:middle], text[middle:]) if part]


def _event(numbers: Iterable[int], kind: str, **fields: Any) -> bytes:
    number = next(iter(numbers))
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number, **fields})}\n\n".encode()


def _data(chunk: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()
