"""Redaction and compression: what they add to a line of telemetry, and megabytes of recordings a second.

Limits beside it, in the same run: parsing the same lines as JSON, which reading telemetry does anyway.
"""

import json
import time
from collections.abc import Callable

import zstandard

from runners.redaction import BUILT_IN, Redactor
from runners.services.transcripts.store import LEVEL

LINES = 20_000
_SAID = "The tokens that were used are in the table; see https://example.org/a/b for what each of them costs. " * 3
_LINE = json.dumps({"type": "assistant", "message": {"content": [{"type": "text", "text": _SAID}], "usage": {"n": 12}}})
_RECORD = json.dumps({"t": 1764000000.25, "kind": "line", "stream": "stdout", "text": _LINE}).encode() + b"\n"
_SECRET = _RECORD.replace(b"the table", b"GITHUB_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345")
_SCREEN = "\x1b[2K\x1b[1A\x1b[32mediting runners/models.py\x1b[0m, line 12 of 340, and some words around it\r\n"
_EVENT = f'[1.500000, "o", {json.dumps(_SCREEN)}]\n'.encode()


def limits() -> dict[str, float]:
    """Return what parsing alone does."""
    lines = [_RECORD] * LINES
    return {"parsing_mb_per_second": _rate(lambda: [json.loads(line) for line in lines], len(_RECORD) * LINES)}


def figures() -> dict[str, float]:
    """Measure the rules that come along over made-up recordings."""
    redactor = Redactor(BUILT_IN, b"key")
    telemetry, screen = _RECORD * LINES, _EVENT * LINES
    some = (_RECORD * 99 + _SECRET) * (LINES // 100)

    def alone() -> None:
        for _ in range(LINES):
            redactor.telemetry(_RECORD)

    compressor = zstandard.ZstdCompressor(level=LEVEL)
    return {
        "telemetry_mb_per_second": _rate(lambda: redactor.telemetry(telemetry), len(telemetry)),
        "one_line_alone_microseconds": 1e6 * _seconds(alone) / LINES,
        "telemetry_with_secrets_mb_per_second": _rate(lambda: redactor.telemetry(some), len(some)),
        "terminal_mb_per_second": _rate(lambda: redactor.cast(screen), len(screen)),
        "zstd_mb_per_second": _rate(lambda: compressor.compress(screen), len(screen)),
    }


def _rate(work: Callable[[], object], size: int) -> float:
    return size / 1e6 / _seconds(work)


def _seconds(work: Callable[[], object]) -> float:
    """Return the best of three: the others were disturbed."""
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best
