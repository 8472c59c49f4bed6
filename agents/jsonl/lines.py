"""The files by name, and their lines one by one: a malformed line is reported and passed over."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

AGENTS = "agents/active_agents.jsonl"
TODOS = "agents/agent_todos.jsonl"
PERSONALITIES = "agents/agent_personalities.json"
JOBS = "jobs/jobs.jsonl"
TIME = "jobs/time_sessions.jsonl"
FILES = (PERSONALITIES, AGENTS, JOBS, TODOS, TIME)

Record = TypeVar("Record")
#: The files there are, by name, and how each is opened for reading bytes.
Files = Mapping[str, Callable[[], IO[bytes]]]


class Malformed(ValueError):
    """A line that cannot be used; the message says why."""


@dataclass(frozen=True)
class Complaint:
    """A line that was passed over, or not taken as it was."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass
class Complaints:
    """All complaints counted, the first ones kept: a hopeless file must not fill the memory."""

    KEPT = 1000

    count: int = 0
    first: list[Complaint] = field(default_factory=list)

    def add(self, file: str, line: int, reason: str) -> None:
        self.count += 1
        if len(self.first) < self.KEPT:
            self.first.append(Complaint(file, line, reason))


@dataclass(frozen=True, slots=True)
class At:
    """Where a record stood."""

    file: str
    line: int


def in_directory(directory: Path) -> Files:
    """Return the files below a directory."""
    return {name: _opener(directory / name) for name in FILES if (directory / name).is_file()}


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def records(
    files: Files, name: str, parse: Callable[[Mapping[str, Any]], Record], complaints: Complaints
) -> Iterator[tuple[At, Record]]:
    """Yield each line's record with where it stood; the file is read as it is consumed."""
    if name not in files:
        return
    with files[name]() as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield At(name, number), parse(_object(line))
            except Malformed as error:
                complaints.add(name, number, str(error))


def _object(line: bytes) -> Mapping[str, Any]:
    """Return the JSON object of a line; an id and a blank may stand before it."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise Malformed("it is not UTF-8") from error
    start = text.find("{")
    if start < 0:
        raise Malformed("there is no JSON object")
    try:
        found = json.loads(text[start:])
    except ValueError as error:
        raise Malformed(f"it is not JSON: {error}") from error
    assert isinstance(found, dict)  # noqa: S101 - it begins with a brace
    prefix = text[:start].strip()
    if prefix and prefix != found.get("id"):
        raise Malformed(f"it begins with {prefix!r}, but its id is {found.get('id')!r}")
    return found
