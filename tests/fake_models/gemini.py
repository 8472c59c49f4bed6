"""Google's Gemini API: POST /v1beta/models/MODEL:generateContent, :streamGenerateContent and :countTokens."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from tests.fake_models.answers import Answer, Block, Refusal, Text, Thinking, ToolCall, Usage
from tests.fake_models.server import ModelServer

_numbers = itertools.count(1)

#: https://ai.google.dev/gemini-api/docs/troubleshooting
ERROR_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    529: "UNAVAILABLE",
}


class GenerateContent:
    """The generateContent methods. The model is in the path, and so is whether the answer is streamed."""

    name = "gemini"

    def routes(self, server: ModelServer) -> Iterable[web.RouteDef]:
        async def generate(http: web.Request) -> web.StreamResponse:
            model, _, method = http.match_info["call"].rpartition(":")
            if method == "countTokens":
                server.probes.append(f"POST {http.path}")
                return web.json_response({"totalTokens": len(await http.read()) // 4})
            return await server.answer(self, http, model=model, stream=method == "streamGenerateContent")

        return [web.post("/v1beta/models/{call}", generate)]

    def whole(self, answer: Answer, model: str) -> dict[str, Any]:
        return _chunk(answer, model, [_part(block) for block in answer.blocks], last=True)

    def events(self, answer: Answer, model: str) -> list[bytes]:
        parts = list(itertools.chain.from_iterable(_pieces(block) for block in answer.blocks)) or [{"text": ""}]
        last = len(parts) - 1
        chunks = [_chunk(answer, model, [part], last=index == last) for index, part in enumerate(parts)]
        return [f"data: {json.dumps(chunk)}\r\n\r\n".encode() for chunk in chunks]

    def refusal(self, refusal: Refusal) -> dict[str, Any]:
        status = ERROR_STATUSES.get(refusal.status, "UNKNOWN")
        error: dict[str, Any] = {"code": refusal.status, "message": refusal.message, "status": status}
        if refusal.retry_after_seconds is not None:
            retry = {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": f"{refusal.retry_after_seconds}s",
            }
            error["details"] = [retry]
        return {"error": error}


def _chunk(answer: Answer, model: str, parts: list[dict[str, Any]], *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    if last:
        candidate["finishReason"] = "STOP"
    return {
        "candidates": [candidate],
        "modelVersion": model,
        "responseId": f"fake{next(_numbers):06d}",
        "usageMetadata": _usage(answer.usage, final=last),
    }


def _usage(usage: Usage, *, final: bool) -> dict[str, int]:
    # Before the last chunk the answer's own tokens are not final. They do not include the thoughts.
    output = usage.output_tokens - usage.reasoning_tokens if final else 1
    thoughts = usage.reasoning_tokens if final else 0
    return {
        "promptTokenCount": usage.prompt_tokens,
        "cachedContentTokenCount": usage.cache_read_tokens,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": usage.prompt_tokens + output + thoughts,
    }


def _part(block: Block) -> dict[str, Any]:
    match block:
        case Text():
            return {"text": block.text}
        case Thinking():
            return {"text": block.text, "thought": True}
        case ToolCall():
            return {"functionCall": {"id": block.id, "name": block.name, "args": dict(block.input)}}


def _pieces(block: Block) -> Iterable[dict[str, Any]]:
    """Cut a text in two, so that clients must put it together again; a call comes whole."""
    whole = _part(block)
    if not isinstance(block, Text) or len(block.text) < 2:
        return [whole]
    middle = len(block.text) // 2
    return [{"text": block.text[:middle]}, {"text": block.text[middle:]}]
