"""Find secrets and mask them, in place: what is masked is as long as it was, so that every offset stays."""

import hmac
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import re2

from runners.redaction.rules import MASKED, Rule, compile_pattern, options
from runners.redaction.views import View, cast_view, plain_view, telemetry_view

#: Looked at before what is to be redacted: a private key of 16,384 bits takes 13 kB, in lines of telemetry twice that.
LOOK_BACK_BYTES = 32 * 1024
#: Looked at after it, where there is more already: longer than any token.
LOOK_AHEAD_BYTES = 4 * 1024
BACKSLASH = 0x5C
#: What the shim says of a record.
OURS = ("t", "kind", "stream")
_RUN = re.compile(rb"\S+")

#: (rule, fingerprint): in how many places. Of 4,096 secrets of a rule one has the fingerprint of another.
Findings = Counter[tuple[str, int]]


class Span(NamedTuple):
    """A secret, by its place in the view."""

    start: int
    end: int
    rule: str


class Redactor:
    """Some rules, compiled. The same for all threads."""

    def __init__(self, rules: Iterable[Rule], key: bytes) -> None:
        #: Secrets are told apart by 12 bits of a keyed digest: too few to find one by.
        self._key = key
        self._rules = [(rule, compile_pattern(rule.pattern)) for rule in rules]
        #: Most text has nothing to redact: this says so in one go, at 700 MB/s.
        self._any = compile_all(rule.pattern for rule, _ in self._rules)

    def text(self, text: str) -> tuple[str, Findings]:
        """Return a text without its secrets, and what was found."""
        data = text.encode("utf-8", "surrogatepass")
        masked, found = self._mask(plain_view(data), data, 0, len(data))
        return (masked.decode("utf-8", "surrogatepass") if found else text), found

    def telemetry(self, data: bytes, before: bytes = b"", after: bytes = b"") -> tuple[bytes, Findings]:
        """Return lines of telemetry.jsonl redacted; `before` and `after` are what stands around them in the file."""
        return self._lines(telemetry_view, data, before, after)

    def cast(self, data: bytes, before: bytes = b"", after: bytes = b"") -> tuple[bytes, Findings]:
        """Return lines of output.cast redacted; `before` and `after` are what stands around them in the file."""
        return self._lines(cast_view, data, before, after)

    def _lines(
        self, view_of: Callable[[bytes], View], data: bytes, before: bytes, after: bytes
    ) -> tuple[bytes, Findings]:
        around = before + data + after if before or after else data
        masked, found = self._mask(view_of(around), around, len(before), len(before) + len(data))
        return (data if masked == data else self._sound(data, masked)), found

    def _mask(self, view: View, data: bytes, start: int, end: int) -> tuple[bytes, Findings]:
        """Return data[start:end] masked, and the secrets that begin in it."""
        found: Findings = Counter()
        spans = self._spans(view)
        if not spans:
            return data[start:end], found
        masked = bytearray(data)
        for span in spans:
            first = mask(masked, view, span)
            if start <= first < end:
                found[span.rule, self._fingerprint(span.rule, view.text[span.start : span.end])] += 1
        return bytes(masked[start:end]), found

    def _spans(self, view: View) -> list[Span]:
        """Return the secrets in a view, in order, none within another."""
        if self._any is not None and self._any.search(view.text) is None:
            return []
        found = []
        for rule, pattern in self._rules:
            for match in pattern.finditer(view.text):
                start, end = _secret_in(match)
                value = view.text[start:end].strip()
                if value and not MASKED.fullmatch(value) and rule.is_secret(value):
                    found.append(Span(start, end, rule.name))
        found.sort(key=lambda span: span.start)  # stable: of two in one place the first rule's comes first
        apart: list[Span] = []
        for span in found:
            reach = apart[-1].end if apart else 0
            if span.end > reach:
                apart.append(Span(max(span.start, reach), span.end, span.rule))
        return apart

    def _fingerprint(self, rule: str, value: bytes) -> int:
        digest = hmac.digest(self._key, b"%s:%s" % (rule.encode(), value.strip()), "sha256")
        return int.from_bytes(digest[:2], "big") & 0xFFF

    def _sound(self, data: bytes, masked: bytes) -> bytes:
        """Return the masked lines; one that is no JSON any more is masked value by value instead.

        The rules that come with Stratavore keep clear of what JSON is made of; a pattern of one's own may not.
        """
        lines = masked.split(b"\n")
        for number, (was, line) in enumerate(zip(data.split(b"\n"), lines, strict=True)):
            if line != was and not is_as_sound(was, line):
                lines[number] = self._by_value(was)
        return b"\n".join(lines)

    def _by_value(self, line: bytes) -> bytes:
        try:
            redone = as_json(self._record(json.loads(line)))
        except (ValueError, RecursionError):  # too deep to walk, or a number that JSON does not know
            redone = b"{}"
        # Blanks may follow JSON.
        return (redone if len(redone) <= len(line) else b"{}").ljust(len(line))

    def _record(self, record: Any) -> Any:
        """Mask what the agent said, not what the shim says of it."""
        match record:
            case dict():
                return {name: item if name in OURS else self._value(item) for name, item in record.items()}
            case [moment, code, text]:
                return [moment, code, self._value(text)]
        return self._value(record)

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                inner = parsed(value)
                return as_json(self._value(inner)).decode() if isinstance(inner, dict | list) else self.text(value)[0]
            case dict():
                return {name: self._value(item) for name, item in value.items()}
            case list():
                return [self._value(item) for item in value]
        return value


def compile_all(patterns: Iterable[str]) -> Any:
    """Return one pattern for any of these, or None where they are too large together: then each is searched for."""
    chosen = options()
    chosen.max_mem = 4 * chosen.max_mem
    try:
        return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns) or r"[^\x{0}-\x{10ffff}]", chosen)
    except re2.error:
        return None


def mask(data: bytearray, view: View, span: Span) -> int:
    """Put stars in place of a secret, and its rule's name where there is room; return where it began.

    White space stays: lines remain lines.
    """
    first = -1
    for run in _RUN.finditer(view.text, span.start, span.end):
        for place, stop in view.places(*run.span()):
            start, end = _around_escapes(data, place, stop) if view.escaped else (place, stop)
            label = b"[%s]" % span.rule.encode() if first < 0 else b""
            data[start:end] = (label if len(label) < end - start else b"").ljust(end - start, b"*")
            first = start if first < 0 else first
    return first


def _around_escapes(data: bytearray, start: int, end: int) -> tuple[int, int]:
    """Return a place that parts no escape: \\n, \\u001b, and the backslashes of JSON in JSON."""
    unicode_escape = data.rfind(b"\\u", max(start - 5, 0), start)
    if unicode_escape >= 0:
        start = unicode_escape
    while start and data[start - 1] == BACKSLASH:
        start -= 1
    if data[end - 1] == BACKSLASH:
        while data[end : end + 1] == b"\\":
            end += 1
        end += data[end : end + 1] not in {b"", b"\n"}
    return start, end


def _secret_in(match: Any) -> tuple[int, int]:
    """Return where the secret is: the first group that took part, or all of the match."""
    for group in range(1, match.re.groups + 1):
        start, end = match.span(group)
        if start >= 0:
            return start, end
    start, end = match.span()
    return start, end


def is_as_sound(was: bytes, line: bytes) -> bool:
    """Say whether a masked line can be read as it could before: its shape, and that of JSON in its text."""
    return bool(_shape(parsed(was)) == _shape(parsed(line)))


def _shape(value: Any) -> Any:
    match value:
        case {"kind": kind, "text": str() as text}:
            return kind, isinstance(parsed(text), dict)
        case {"kind": kind, "data": data}:
            return kind, type(data)
        case dict():
            return value.keys()
        case [moment, code, str()]:
            return moment, code
    return type(value)


def parsed(text: bytes | str) -> Any:
    """Return what JSON says, or None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def as_json(value: Any) -> bytes:
    """Return JSON as short as can be: never longer than what a program wrote."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
