"""A file of lines that the agent keeps beside its output, such as its own record of the conversation, as it grows.

Its lines become telemetry records of stream "log", so that whoever reads the telemetry needs no second source. What the
file held before the agent started is history.
"""

import os
import time
from collections.abc import Callable

from runners.shim.lines import Lines
from runners.shim.loop import Loop

#: A budget acts within 2 s of the tokens: most of that is for others.
LOOK_SECONDS = 0.25
#: A longer line is told in pieces.
LINE_LIMIT_BYTES = 8 * 1024 * 1024
#: A pattern is looked up anew after so long, while it fits nothing and when it fits something: that walks directories.
SEARCH_SECONDS = (1.0, 5.0)
#: Read of one file at one look, so that a large file does not starve the agent's output.
LOOK_BYTES = 1024 * 1024
#: A pattern that fits more files than this is not meant so.
FILES = 16
#: Where the conversation's id goes in a pattern.
PLACE = "{conversation}"

Tell = Callable[[bytes, bool], None]


class Following:
    """Follows the files that fit a pattern. The pattern may need an id that the agent tells in its first lines."""

    def __init__(self, loop: Loop, spec: object, tell: Tell) -> None:
        wanted = spec if isinstance(spec, dict) else {}
        self._loop = loop
        self._tell = tell
        self._pattern = str(wanted.get("pattern") or "")
        self._containing = tuple(str(word).encode() for word in wanted.get("containing") or ())
        self._announced_by = str(wanted.get("announced_by") or "").encode()
        self._files: dict[str, _File] = {}
        self._search_at = 0.0
        if self._pattern and not self._is_waiting:
            for path in self._found():
                self._files[path] = _File(path, _size(path))
            self._plan()

    @property
    def _is_waiting(self) -> bool:
        """Say whether the id is not known yet."""
        return PLACE in self._pattern

    def hear(self, line: bytes) -> None:
        """Look for the id in a line of the agent's output: the text between the announcement and the next quote."""
        if not self._is_waiting or not self._announced_by:
            return
        _, found, rest = line.partition(self._announced_by)
        conversation = rest.partition(b'"')[0].decode("utf-8", "replace")
        # It becomes part of a path: letters, digits, - and _ only.
        if found and conversation.replace("-", "").replace("_", "").isalnum():
            self._pattern = self._pattern.replace(PLACE, conversation)
            self._plan()

    def _plan(self) -> None:
        self._loop.after("follow", LOOK_SECONDS, self._look_and_plan)

    def _look_and_plan(self) -> None:
        self.look()
        self._plan()

    def look(self) -> bool:
        """Tell the lines that are new; return whether there may be more."""
        if not self._pattern or self._is_waiting:
            return False
        if time.monotonic() >= self._search_at:
            for path in self._found():
                self._files.setdefault(path, _File(path, 0))
            self._search_at = time.monotonic() + SEARCH_SECONDS[bool(self._files)]
        grew = [self._read(file) for file in self._files.values()]
        return any(grew)

    def _read(self, file: "_File") -> bool:
        data = file.read()
        for line, partial in file.lines.feed(data):
            self._pass_on(line, partial=partial)
        return bool(data)

    def _pass_on(self, line: bytes, *, partial: bool) -> None:
        if not self._containing or any(word in line for word in self._containing):
            self._tell(line, partial)

    def _found(self) -> list[str]:
        from glob import glob  # few agents are followed: the others do without the module

        return sorted(glob(self._pattern))[:FILES]

    def finish(self) -> None:
        """Tell what is left, when the agent has ended."""
        self._loop.cancel("follow")
        self._search_at = 0.0
        while self.look():
            pass
        for file in self._files.values():
            for line, partial in file.lines.rest():
                self._pass_on(line, partial=partial)


class _File:
    """One file and how far it is read."""

    def __init__(self, path: str, offset: int) -> None:
        self.path = path
        self.offset = offset
        self.lines = Lines(LINE_LIMIT_BYTES)

    def read(self) -> bytes:
        """Return what it holds past the offset, at most LOOK_BYTES; of one that shrank, all from its beginning."""
        size = _size(self.path)
        if size < self.offset:
            self.offset = 0
        if size == self.offset:
            return b""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(LOOK_BYTES)
        except OSError:  # removed, or not ours to read: it may come back
            return b""
        self.offset += len(data)
        return data


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
