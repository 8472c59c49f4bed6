"""What the OpenAPI schema says of every operation alike."""

from typing import Any

PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457. More members follow from the kind of problem: GET /api/v1/problems/ lists the kinds.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "example": "/problems/quota_exceeded"},
        "title": {"type": "string", "example": "The project's quota is full"},
        "status": {"type": "integer", "example": 409},
        "detail": {"type": "string", "example": "shop has 5 of 5 runners: its quota is full."},
        "errors": {"type": "object", "description": "What is wrong, by field.", "additionalProperties": {}},
    },
    "additionalProperties": {},
}


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Name the problem document as the answer to every refusal (a postprocessing hook of drf-spectacular)."""
    result["components"]["schemas"]["Problem"] = PROBLEM_SCHEMA
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = {"description": "A refusal.", "content": content}
    return result
