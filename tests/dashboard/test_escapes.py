"""What of a program's output reaches a browser's terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.escapes import EscapeFilter, plain_text

HARMLESS = [
    "plain text\r\n\ttabbed",
    "\x1b[31mred\x1b[0m",
    "\x1b[38;2;1;2;3mtrue colour\x1b[m",
    "\x1b[2J\x1b[H\x1b[10;20Hmoved",
    "\x1b[?25l\x1b[?1049h",
    "\x1b7saved\x1b8",
    "\x1b(B\x1b)0",
    "\x1b[2 q",
    "\x1b[!p",
    "æøå 漢字 🦖",
]
HARMFUL = [
    "\x1b]0;a title\x07",
    "\x1b]52;c;cm0gLXJmIC8=\x07",
    "\x1b]52;c;cm0gLXJmIC8=\x1b\\",
    "\x1b]8;;https://evil.example\x1b\\",
    "\x9d52;c;AAAA\x9c",
    "\x1bP$q\x1b\\",
    "\x1bP+q544e\x1b\\",
    "\x90q#0\x9c",
    "\x1b_a program command\x1b\\",
    "\x1b^private\x1b\\",
    "\x1bXstring\x1b\\",
    "\x1b[c",
    "\x1b[>c",
    "\x1b[=c",
    "\x1b[6n",
    "\x1b[?6n",
    "\x1b[21t",
    "\x1b[?1$p",
    "\x1b[>q",
    "\x1b[?u",
    "\x1b[x",
    "\x1b[1;1;1;1;1;1*y",
    "\x9b6n",
    "\x1bZ",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_text_colours_and_movement_pass(text: str) -> None:
    assert EscapeFilter().feed(text) == text


@pytest.mark.parametrize("text", HARMFUL)
def test_strings_and_queries_are_taken_out(text: str) -> None:
    assert EscapeFilter().feed(f"before{text}after") == "beforeafter"


@given(st.lists(st.sampled_from([*HARMLESS, *HARMFUL]), max_size=6), st.data())
def test_however_the_output_is_cut_the_same_passes(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    whole = EscapeFilter().feed(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    escapes = EscapeFilter()
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(escapes.feed(piece) for piece in pieces) == whole


@given(st.text(alphabet="\x1b\x07\x9b\x9c\x9d\x90[]P_\\?>;0126cntqpABm x", max_size=60))
def test_nothing_refused_passes_in_any_mixture(text: str) -> None:
    passed = EscapeFilter().feed(text)
    # What passes, passes again unchanged: nothing joined up into a new sequence.
    assert EscapeFilter().feed(passed) == passed
    assert not any(introducer in passed for introducer in ("\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x9d", "\x9b", "\x90"))


def test_a_string_that_never_ends_holds_nothing_in_memory() -> None:
    escapes = EscapeFilter()
    assert escapes.feed("\x1b]0;" + "x" * 1_000_000) == ""
    assert len(escapes._held) < 200
    assert escapes.feed("\x07after") == "after"


def test_plain_text_has_no_escape_and_keeps_the_last_writing_of_a_line() -> None:
    output = "\x1b[1mbold\x1b[0m\r\n10 %\r50 %\r100 %\r\n\x1b]0;t\x07end\x08"
    assert plain_text(output) == "bold\n100 %\nend"
