"""A patch as lines that a page can colour."""

from collections.abc import Iterator
from dataclasses import dataclass, field

#: A browser lays out this many lines at once; whoever wants more has the branch, or the API.
MAX_LINES = 4_000


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
    """Tell each line's kind. Within a hunk a line like "--- x" is a removal, not a header."""
    in_hunk = False
    for line in lines:
        if line.startswith("diff --git "):
            in_hunk = False
            yield "file", line
        elif line.startswith("@@"):
            in_hunk = True
            yield "hunk", line
        elif in_hunk:
            yield {"+": "add", "-": "del"}.get(line[:1], "same"), line
        elif line:
            yield "meta", line


def _name(line: str) -> str:
    """Return the new name in "diff --git a/x b/x"."""
    return line.rpartition(" b/")[2].removesuffix('"') if " b/" in line else line
