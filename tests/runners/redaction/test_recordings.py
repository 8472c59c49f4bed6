"""Recordings are redacted in place: whatever they are split into, they stay what they were but for the secrets."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runners.redaction import BUILT_IN, Redactor, Rule
from tests.runners.redaction.recordings import SECRETS, event, line, pieces, printed, redactor, report, told

#: What an agent prints around its secrets: everything that JSON must escape, colours, other scripts.
NOISE = st.lists(
    st.sampled_from(
        [
            " ",
            "\r\n",
            "\x1b[2K",
            "\x1b[1;31m",
            "\x1b[0m",
            "\x1b[10;4H",
            '"',
            "\\",
            "\\n",
            "\\\\",
            "]\n",
            '"]',
            "é",
            "→",
            "🦖",
            "\x00",
            "\x07",
            "\x7f",
            "{",
            '{"a": "b"}',
            "'",
            "token",
            "password",
            "input_tokens: 12",
            "/",
            "\t",
            "ab",
            "0",
        ]
    ),
    max_size=12,
).map("".join)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)
SECRET = st.sampled_from(sorted(SECRETS.values()))


@settings(max_examples=150, deadline=None)
@given(before=NOISE, secret=SECRET, after=NOISE, cuts=CUTS)
@example(before="", secret=SECRETS["jwt"], after="", cuts=list(range(100)))
def test_a_secret_split_over_any_events_is_found_and_the_recording_stays_one(
    before: str, secret: str, after: str, cuts: list[int]
) -> None:
    text = f"{before} {secret} {after}"
    events = [event(piece, at) for at, piece in enumerate(pieces(text, cuts))]
    cast = b"".join(events)
    masked, found = redactor().cast(cast)
    assert found.total() >= 1
    assert secret not in printed(masked)
    assert len(masked) == len(cast)
    for was, now in zip(events, masked.splitlines(keepends=True), strict=True):
        assert len(was) == len(now)
        assert json.loads(was)[:2] == json.loads(now)[:2]
    assert printed(masked).startswith(before) or "token" in before or "password" in before


@settings(max_examples=100, deadline=None)
@given(noise=NOISE, cuts=CUTS)
def test_without_a_secret_nothing_changes(noise: str, cuts: list[int]) -> None:
    cast = b"".join(event(piece) for piece in pieces(noise, cuts))
    assert redactor().cast(cast) == (cast, {})


@settings(max_examples=150, deadline=None)
@given(before=NOISE, secret=SECRET, after=NOISE, depth=st.integers(0, 3))
def test_a_secret_in_json_in_json_is_found_and_every_layer_stays_json(
    before: str, secret: str, after: str, depth: int
) -> None:
    text = f"{before} {secret} {after}"
    for _ in range(depth):
        text = json.dumps({"type": "user", "content": text}, ensure_ascii=False)
    masked, found = redactor().telemetry(line(text))
    assert found.total() >= 1
    assert len(masked) == len(line(text))
    (value,) = told(masked)
    for _ in range(depth):
        value = json.loads(value)["content"]
    assert secret not in value


def test_a_colour_in_the_middle_of_a_secret_hides_it_not() -> None:
    secret = SECRETS["anthropic_key"]
    cast = event(f"found: {secret[:9]}\x1b[01;31m\x1b[K{secret[9:20]}\x1b[m\x1b[K{secret[20:]} end")
    masked, found = redactor().cast(cast)
    assert found.total() == 1
    assert "\x1b[01;31m\x1b[K***********\x1b[m\x1b[K" in printed(masked)
    assert printed(masked).endswith("** end")


def test_a_resize_between_two_halves_of_a_secret_stays_a_resize() -> None:
    secret = SECRETS["github_token"]
    cast = event(secret[:10]) + b'[2.000000, "r", "100x30"]\n' + event(secret[10:])
    masked, _ = redactor().cast(cast)
    assert masked.splitlines()[1] == b'[2.000000, "r", "100x30"]'
    assert printed(masked) == "*" * len(secret)


def test_a_key_printed_line_by_line_is_masked_line_by_line() -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", "MIIEowIBAAKCAQEAx7Kq", "c2VjcmV0", "-----END PRIVATE KEY-----", "done"]
    masked, found = redactor().telemetry(b"".join(map(line, lines)))
    assert told(masked) == [lines[0], "[private_key]*******", "********", lines[3], "done"]
    assert found.total() == 1


def test_a_secret_split_over_two_pieces_of_a_long_line_is_found() -> None:
    secret = SECRETS["slack_token"]
    masked, found = redactor().telemetry(line(f"x {secret[:9]}", partial=True) + line(f"{secret[9:]} y"))
    assert found.total() == 1
    assert told(masked) == ["x *********", "*" * (len(secret) - 9) + " y"]


def test_what_stands_before_the_data_tells_what_its_beginning_is() -> None:
    lines = [
        line(text) for text in ("-----BEGIN PRIVATE KEY-----", "MIIEowIBAAKCAQEAx7Kq", "c2VjcmV0b2ZhbGxvZnVz", "done")
    ]
    masked, found = redactor().telemetry(lines[2] + lines[3], before=lines[0] + lines[1])
    assert told(masked) == ["*" * 20, "done"]
    assert not found, "it was counted where it began"


def test_a_report_keeps_its_numbers() -> None:
    data = {"type": "usage", "id": "u1", "token": 12345678, "password": None, "api_key": "abcdef123456"}
    (masked,) = redactor().telemetry(report(data))[0].splitlines()
    assert json.loads(masked)["data"] == {**data, "api_key": "************"}


@pytest.mark.parametrize(
    "pattern", [r"[0-9]{6,}", r"\"type\".*", r".+", r"[{}:,\"]+", r"true|null", r"\\", r"\s+", r"u00e9|00|e9", r"[a-z]"]
)
@pytest.mark.parametrize(
    "text", ['{"type": "a", "n": 1234567, "ok": true, "t": "é \\u00e9 \\n x"}', "plain é \n 1234567"]
)
def test_a_pattern_of_ones_own_cannot_make_a_recording_unreadable(pattern: str, text: str) -> None:
    own = Redactor([Rule("own", "", pattern)], b"k")
    telemetry = line(text) + report(["é", 1234567, {"n": None}])
    masked, _ = own.telemetry(telemetry)
    assert len(masked) == len(telemetry)
    for was, now in zip(telemetry.splitlines(), masked.splitlines(), strict=True):
        before, after = json.loads(was), json.loads(now)
        assert after == {} or (before["t"], before["kind"]) == (after["t"], after["kind"])
        if isinstance(before.get("text"), str) and text.startswith("{") and after:
            assert isinstance(json.loads(after["text"]), dict), "JSON in it can be read as before"
    cast = event(text) + event("\x1b[0mé")
    masked, _ = own.cast(cast)
    assert len(masked) == len(cast)
    assert [json.loads(each)[:2] for each in masked.splitlines()] == [[1.5, "o"], [1.5, "o"]]


HOSTILE = [
    '"' * 300_000, "\\" * 300_000, "password=" * 40_000, "password: " * 40_000, "-----BEGIN PRIVATE KEY-----" * 15_000,
    "eyJ" * 100_000, "eyJaaaaaaaa." * 30_000, "a://" * 80_000, "a://b:" * 60_000, "\x1b[" * 150_000, "\x1b[0;" * 90_000,
    "sk-" * 100_000, "A" * 400_000, "authorization: " * 25_000, "\n" * 300_000, " " * 300_000, "\\u001b" * 60_000,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_text_is_gone_through_once_and_stays_readable(number: int) -> None:
    """With a pattern that tries again and again, each of these would take hours."""
    text = HOSTILE[number]
    redactor().text(text)
    for split in (1, 200_000):
        pieces_of_it = [
            text[start : start + len(text) // split + 1] for start in range(0, len(text), len(text) // split + 1)
        ]
        cast = b"".join(map(event, pieces_of_it[:20_000]))
        assert len(printed(redactor().cast(cast)[0])) > 0
    telemetry = line(text) + line(json.dumps({"type": "x", "text": text}))
    assert all(isinstance(value, str) for value in told(redactor().telemetry(telemetry)[0]))


def test_many_resizes_in_a_row_are_gone_through_once() -> None:
    cast = event("sk-ant-") + b'[2.000000, "r", "100x30"]\n' * 40_000 + event("x")
    assert redactor().cast(cast) == (cast, {})


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_a_file_of_anything_is_never_an_error(data: bytes) -> None:
    for name in ("cast", "telemetry"):
        masked, _ = getattr(redactor(), name)(data)
        assert len(masked) == len(data)


@pytest.mark.parametrize("rule", [rule.name for rule in BUILT_IN])
def test_each_rule_stands_alone(rule: str) -> None:
    (one,) = (each for each in BUILT_IN if each.name == rule)
    assert Redactor([one], b"k").text("nothing here")[1] == {}


def test_no_rules_find_nothing() -> None:
    nothing: Any = Redactor([], b"k").text(SECRETS["jwt"])
    assert nothing == (SECRETS["jwt"], {})
