"""A patch as lines that a page can colour."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

#: A browser lays out this many lines at once; whoever wants more has the branch, or the API.
MAX_LINES = 4_000

_HUNK = re.compile(r"@@ -\d{1,9}(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@")


@dataclass
class FilePatch:
    """What a patch says of one file: its lines, each with a word for its kind."""

    name: str
    lines: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Patch:
    files: list[FilePatch]
    #: There are more lines than are shown.
    cut: bool


def read_patch(text: str) -> Patch:
    """Return a patch by files, at most MAX_LINES of it."""
    files: list[FilePatch] = []
    lines = text.split("\n")
    for kind, line in _kinds(lines[:MAX_LINES]):
        if kind == "file":
            files.append(FilePatch(_name(line)))
        elif files:
            files[-1].lines.append((kind, line))
    return Patch(files, cut=len(lines) > MAX_LINES)


def _kinds(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Tell each line's kind. A hunk says how many lines it has: in it one like "--- x" is a removal, not a header."""
    old = new = 0
    is_git = False
    for line in lines:
        if line.startswith("diff --git "):
            old, new, is_git = 0, 0, True
            yield "file", line
        elif found := _HUNK.match(line):
            old, new = (1 if count is None else int(count) for count in found.groups())
            yield "hunk", line
        elif old > 0 or new > 0:
            old -= line[:1] not in ("+", "\\")
            new -= line[:1] not in ("-", "\\")
            yield {"+": "add", "-": "del"}.get(line[:1], "same"), line
        elif line.startswith("+++ ") and not is_git:
            yield "file", line
        elif line and not (line.startswith("--- ") and not is_git):
            yield "meta", line


def _name(line: str) -> str:
    """Return the new name in "diff --git a/x b/x", or in "+++ b/x" and a time."""
    if line.startswith("+++ "):
        return line[4:].partition("\t")[0].strip().removeprefix("b/")
    return line.rpartition(" b/")[2].removesuffix('"') if " b/" in line else line
