"""Anthropic's Messages API: POST /v1/messages, streamed or whole, and the token counter."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from tests.fake_models.answers import Answer, Block, Refusal, Text, Thinking, ToolCall, Usage
from tests.fake_models.server import ModelServer

_numbers = itertools.count(1)

#: https://docs.anthropic.com/en/api/errors
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Messages:
    """The Messages API."""

    name = "anthropic"

    def routes(self, server: ModelServer) -> Iterable[web.RouteDef]:
        async def messages(http: web.Request) -> web.StreamResponse:
            return await server.answer(self, http)

        async def count_tokens(http: web.Request) -> web.StreamResponse:
            server.probes.append("POST /v1/messages/count_tokens")
            return web.json_response({"input_tokens": len(await http.read()) // 4})

        async def alive(http: web.Request) -> web.StreamResponse:
            server.probes.append(f"{http.method} /")
            return web.Response()

        return [
            web.post("/v1/messages", messages),
            web.post("/v1/messages/count_tokens", count_tokens),
            web.get("/", alive),
        ]

    def whole(self, answer: Answer, model: str) -> dict[str, Any]:
        return {
            **_message(model, _usage(answer.usage)),
            "content": [_block(block) for block in answer.blocks],
            "stop_reason": _stop_reason(answer),
        }

    def events(self, answer: Answer, model: str) -> list[bytes]:
        # The first event's usage is not final: like the real one it tells the prompt's tokens and one of the answer's.
        started = {**_usage(answer.usage), "output_tokens": min(1, answer.usage.output_tokens)}
        return [
            _event("message_start", message={**_message(model, started), "content": [], "stop_reason": None}),
            _event("ping"),
            *itertools.chain.from_iterable(_block_events(index, block) for index, block in enumerate(answer.blocks)),
            _event(
                "message_delta",
                delta={"stop_reason": _stop_reason(answer), "stop_sequence": None},
                usage=_usage(answer.usage),
            ),
            _event("message_stop"),
        ]

    def refusal(self, refusal: Refusal) -> dict[str, Any]:
        kind = ERROR_TYPES.get(refusal.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": refusal.message}}


def _message(model: str, usage: dict[str, int]) -> dict[str, Any]:
    return {
        "id": f"msg_fake{next(_numbers):06d}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "stop_sequence": None,
        "usage": usage,
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }


def _stop_reason(answer: Answer) -> str:
    return "tool_use" if answer.calls_tools else "end_turn"


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "text": block.text}
        case Thinking():
            return {"type": "thinking", "thinking": block.text, "signature": "c2lnbmVk"}
        case ToolCall():
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": dict(block.input)}


def _block_events(index: int, block: Block) -> Iterable[bytes]:
    whole = _block(block)
    match block:
        case Text():
            start, deltas = {**whole, "text": ""}, [{"type": "text_delta", "text": part} for part in _parts(block.text)]
        case Thinking():
            start = {**whole, "thinking": "", "signature": ""}
            deltas = [
                {"type": "thinking_delta", "thinking": block.text},
                {"type": "signature_delta", "signature": whole["signature"]},
            ]
        case ToolCall():
            start = {**whole, "input": {}}
            parts = _parts(json.dumps(dict(block.input)))
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    yield _event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def _parts(text: str) -> list[str]:
    """Cut a text in two, so that clients must put it together again."""
    middle = len(text) // 2
    return [part for part in (text[:middle], text[middle:]) if part]


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
