"""Take out of terminal output what a terminal in a browser must not obey.

Output is written by programs nobody vouches for, and it is replayed to every viewer, each time from the start. So
everything that is not plain text, cursor movement, colour or a mode goes: OSC (titles, clipboard, hyperlinks), DCS,
APC, PM and SOS strings, and the queries that a terminal answers by typing, which would reach the program as input once
for each viewer. Sequences may be split between two chunks, so the filter keeps its state.
"""

import re

ESC, BEL, CAN, SUB = "\x1b", "\x07", "\x18", "\x1a"
#: Introducers of strings: by ESC and a letter, and as one character of the C1 set.
_STRING_LETTERS = frozenset("]P_^X")
_C1_STRINGS = {"\x9d": "]", "\x90": "P", "\x9f": "_", "\x9e": "^", "\x98": "X"}
_C1_CSI, _C1_ST = "\x9b", "\x9c"
#: Final bytes of control sequences that make a terminal answer or touch its window: c (attributes), n (status),
#: p (mode queries, with resets among them), q (version; also the cursor's look), t (window), x, y (reports, tests).
_REFUSED_FINALS = frozenset("cnptxy")
#: Far more than any sequence has; beyond it the sequence is no sequence.
_MAX_SEQUENCE = 128
_PLAIN = re.compile(r"[^\x1b\x80-\x9f]+")
_SOFT_RESET = "!p"


class EscapeFilter:
    """Filters one stream of output; feed it the chunks in order."""

    def __init__(self) -> None:
        self._state = "plain"
        self._held = ""

    def feed(self, text: str) -> str:
        """Return what may be shown of `text`."""
        kept: list[str] = []
        at = 0
        while at < len(text):
            run = _PLAIN.match(text, at) if self._state == "plain" else None
            if run:
                kept.append(run[0])
                at = run.end()
            else:
                kept.append(getattr(self, f"_{self._state}")(text[at]))
                at += 1
        return "".join(kept)

    # One method a state: takes a character, returns what is let through.

    def _plain(self, char: str) -> str:
        if char == ESC:
            self._state, self._held = "escape", ESC
        elif char == _C1_CSI:
            self._state, self._held = "sequence", f"{ESC}["
        elif char in _C1_STRINGS:
            self._state = "string"
        # Any other C1 control is dropped: seven-bit programs do not write them.
        return ""

    def _escape(self, char: str) -> str:
        if char in _STRING_LETTERS:
            self._state, self._held = "string", ""
        elif char == "[":
            self._state, self._held = "sequence", f"{ESC}["
        elif char == ESC:
            self._held = ESC
        elif " " <= char <= "/":
            self._held += char
            return self._give_up_if_long()
        elif "0" <= char <= "~":
            # ESC Z asks who the terminal is.
            return self._release(char) if char not in "Z\\" else self._drop()
        else:
            return self._interrupted(char)
        return ""

    def _sequence(self, char: str) -> str:
        if "@" <= char <= "~":
            return self._drop() if self._refused(char) else self._release(char)
        if " " <= char <= "?":
            self._held += char
            return self._give_up_if_long()
        return self._interrupted(char)

    def _interrupted(self, char: str) -> str:
        """Take what belongs into no sequence: most control characters are obeyed in its midst, the rest ends it."""
        if char < " " and char not in (ESC, CAN, SUB):
            return char
        self._drop()
        return self._plain(char) if char == ESC or "\x80" <= char <= "\x9f" else ""

    def _string(self, char: str) -> str:
        if char in (BEL, _C1_ST, CAN, SUB):
            return self._drop()
        if char == ESC:
            self._state = "string_escape"
        return ""

    def _string_escape(self, char: str) -> str:
        if char == "\\":
            return self._drop()
        # ESC ends the string, whatever follows it.
        self._state, self._held = "escape", ESC
        return self._escape(char)

    def _refused(self, final: str) -> bool:
        body = self._held[2:]
        if final == "p":
            return body + final != _SOFT_RESET
        return final in _REFUSED_FINALS or (final == "q" and body.startswith(">")) or (final == "u" and "?" in body)

    def _release(self, char: str) -> str:
        held, self._state, self._held = self._held, "plain", ""
        return held + char

    def _drop(self) -> str:
        self._state, self._held = "plain", ""
        return ""

    def _give_up_if_long(self) -> str:
        return self._drop() if len(self._held) > _MAX_SEQUENCE else ""


_ANY_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def plain_text(output: str) -> str:
    """Return output as text without any escape sequence: what a page without JavaScript shows.

    Of a line that was overwritten by carriage returns the last writing is kept.
    """
    bare = _ANY_ESCAPE.sub("", EscapeFilter().feed(output)).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in bare.split("\n"))
    return _CONTROLS.sub("", "\n".join(lines))
