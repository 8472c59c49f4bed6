"""Files of a run directory as the shim writes them."""

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from runners.redaction import BUILT_IN, Redactor

#: Made up; each is found by the rule before it.
SECRETS = {
    "anthropic_key": "sk-ant-api03-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA-AA",
    "openai_key": "sk-proj-Abc123Def456Ghi789Jkl012Mno345",
    "google_key": "AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "aws_key": "AKIAQYLPMN5HEXAMPLE2",
    "github_token": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "gitlab_token": "glpat-Ab12Cd34Ef56Gh78Ij90",
    "slack_token": "xoxb-123456789012-abcdefABCDEF",
    "service_key": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
}


def redactor() -> Redactor:
    return Redactor(BUILT_IN, b"key of the tests")


def event(text: str, at: float = 1.5) -> bytes:
    return f'[{at:.6f}, "o", {json.encoder.encode_basestring(text)}]\n'.encode()


def line(text: str, *, partial: bool = False) -> bytes:
    """Return a record of a line of output."""
    mark = ', "partial": true' if partial else ""
    quoted = json.encoder.encode_basestring(text)
    return f'{{"t": 1764000000.250000, "kind": "line", "stream": "stdout", "text": {quoted}{mark}}}\n'.encode()


def report(data: Any) -> bytes:
    return json.dumps({"t": 1764000000.25, "kind": "report", "data": data}).encode() + b"\n"


def printed(cast: bytes) -> str:
    """Return what the events of a recording say, joined. Every line must be JSON."""
    return "".join(value[2] for value in map(json.loads, cast.splitlines()) if value[1] == "o")


def told(telemetry: bytes) -> list[str]:
    """Return the texts of the records."""
    return [json.loads(record)["text"] for record in telemetry.splitlines()]


def pieces(text: str, cuts: Iterable[int]) -> list[str]:
    """Cut a text at some of its places."""
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(places)]
