"""Examples for the API's pages."""

from drf_spectacular.utils import OpenApiExample

LAUNCH_EXAMPLES = [
    OpenApiExample(
        "Claude Code, headless",
        value={
            "project": "shop",
            "backend": "claude_code",
            "prompt": "Make the tests pass, and say what was wrong.",
            "model": "sonnet",
            "flags": ["--max-turns", "20"],
        },
        request_only=True,
    ),
    OpenApiExample(
        "Any command",
        value={"project": "shop", "backend": "command", "argv": ["make", "test"], "grace_seconds": 30},
        request_only=True,
    ),
    OpenApiExample(
        "A command in a container",
        value={
            "project": "shop",
            "backend": "command",
            "argv": ["pytest", "-q"],
            "runtime": "container",
            "image": "docker.io/library/python:3.12",
        },
        request_only=True,
    ),
    OpenApiExample("The demo agent", value={"project": "demo", "backend": "demo"}, request_only=True),
]
