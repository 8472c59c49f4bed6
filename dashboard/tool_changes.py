"""What the use of a tool changes, as a patch: in the inputs of editing tools, and in what a tool printed.

Each program has names of its own for the same few things: a file, the text before, the text after.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dashboard.diffs import FilePatch, Patch, read_patch

#: A browser lays out that many of one tool's lines, and of each line so many characters.
MAX_LINES = 400
MAX_LINE_LENGTH = 500
#: Beyond it a text is shown as taken out and put in: finding what both have in common takes the square of their lines.
MAX_COMPARED_LINES = 2_000

_PATH = ("file_path", "filePath", "path", "absolute_path", "notebook_path")
_BEFORE = ("old_string", "oldString", "old_str")
_AFTER = ("new_string", "newString", "new_str", "new_source")
_WHOLE = ("content", "file_text")
#: Tools whose input is the whole text of a file. Others have a `content` that is none.
_WRITERS = frozenset({"write", "write_file", "writefile", "create", "create_file"})
_PATCH = ("patchText", "patch", "input", "diff")
_PATCH_FILE = re.compile(r"\*\*\* (?:Add|Update|Delete) File: (.*)")
_UNIFIED = re.compile(r"^(?:diff --git .*|--- \S.*\n\+\+\+ \S.*\n@@ .*)$", re.MULTILINE)


def change_in(tool: str, given: Any) -> Patch | None:
    """Return what a tool was asked to change, or None if that is not to be seen in its input."""
    if not isinstance(given, Mapping):
        return None
    if (patch := _text(given, _PATCH)) and (found := patch_in(patch)):
        return found
    lines = list(_changes(tool, given))
    if not lines:
        return None
    return _short([FilePatch(_text(given, _PATH) or tool, lines)])


def patch_in(text: str) -> Patch | None:
    """Return the patch in a text that has one: as git prints it, as diff prints it, or as Codex takes it."""
    if text.lstrip().startswith("*** Begin Patch"):
        return _short(_codex_patch(text))
    found = _UNIFIED.search(text)
    if found is None:
        return None
    patch = read_patch(text[found.start() :])
    return _short(patch.files, cut=patch.cut) if patch.files else None


def _changes(tool: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    edits = given.get("edits")
    for edit in [given, *(edits if isinstance(edits, list) else [])]:
        if isinstance(edit, Mapping) and (_has(edit, _BEFORE) or _has(edit, _AFTER)):
            yield from _compared(_text(edit, _BEFORE), _text(edit, _AFTER))
    if tool.lower() in _WRITERS and _has(given, _WHOLE):
        yield from (("add", f"+{line}") for line in _text(given, _WHOLE).split("\n"))


def _compared(before: str, after: str) -> Iterator[tuple[str, str]]:
    old, new = (text.split("\n") if text else [] for text in (before, after))
    if len(old) + len(new) > MAX_COMPARED_LINES:
        yield from (("del", f"-{line}") for line in old)
        yield from (("add", f"+{line}") for line in new)
        return
    kinds = {"+": "add", "-": "del", "@": "hunk"}
    # After two lines of names and the first place: where in the file that is, nobody told the tool.
    for line in [*difflib.unified_diff(old, new, n=3, lineterm="")][3:]:
        yield kinds.get(line[:1], "same"), "⋯" if line.startswith("@@") else line


def _codex_patch(text: str) -> list[FilePatch]:
    files: list[FilePatch] = []
    for line in text.split("\n"):
        if found := _PATCH_FILE.match(line):
            files.append(FilePatch(found[1].strip()))
        elif files and line.startswith("@@"):
            files[-1].lines.append(("hunk", line))
        elif files and not line.startswith("***"):
            files[-1].lines.append(({"+": "add", "-": "del"}.get(line[:1], "same"), line))
    return files


def _short(files: list[FilePatch], *, cut: bool = False) -> Patch:
    """Return the files with as many of their lines, and as much of each, as is shown."""
    left, shown = MAX_LINES, []
    for file in files:
        lines = [(kind, line[:MAX_LINE_LENGTH]) for kind, line in file.lines[:left]]
        cut = cut or len(lines) < len(file.lines)
        left -= len(lines)
        shown.append(FilePatch(file.name[:MAX_LINE_LENGTH], lines))
    return Patch(shown, cut=cut)


def _has(given: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return any(isinstance(given.get(name), str) for name in names)


def _text(given: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((given[name] for name in names if isinstance(given.get(name), str)), "")
