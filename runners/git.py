"""Git, run so that nothing of a repository runs with it: no hooks, monitors, signing or GIT_* of the caller."""

import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

#: A first checkout or the hashing of new files of a very large repository takes minutes; nothing sound takes longer.
TIMEOUT_SECONDS = 600.0
READ_BYTES = 1 << 16
#: Whoever merges here is no person; commits say so.
IDENTITY = ("Stratavore", "stratavore@localhost")
SAFE = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "commit.gpgSign=false",
    "merge.verifySignatures=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "diff.ignoreSubmodules=dirty",
    "core.quotePath=false",
)


class GitFailed(Exception):
    """Git refused or failed; the message is its own first sentence."""

    def __init__(self, message: str, *, code: int = -1, output: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.output = output


@dataclass(frozen=True)
class Git:
    """Git in one directory.

    `git_dir`, where given, is used in place of what the directory's own .git says: whoever works in a worktree can
    write that file, and could point us to a configuration of his.
    """

    directory: Path | str
    git_dir: Path | str = ""

    def run(self, *words: str, index: Path | str = "") -> str:
        """Return what git prints. Raises GitFailed."""
        text, _ = self.read(*words, index=index)
        return text

    def succeeds(self, *words: str) -> bool:
        """Say whether git agrees."""
        try:
            self.run(*words)
        except GitFailed:
            return False
        return True

    def commit(self, name: str) -> str:
        """Return the id of the commit that `name` is, or "" if there is none."""
        try:
            return self.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()
        except GitFailed:
            return ""

    def read(self, *words: str, index: Path | str = "", limit: int = 0) -> tuple[str, bool]:
        """Return what git prints, at most `limit` bytes of it (0: all), and whether that is everything.

        What is no UTF-8 is replaced. Raises GitFailed.
        """
        process = self._start(words, index)
        try:
            data, complaint, whole = _drain(process, limit)
        except TimeoutError:
            _end(process)
            raise GitFailed(f"git {words[0]} did not finish in {TIMEOUT_SECONDS:.0f} s") from None
        if not whole:
            _end(process)
        elif process.wait() != 0:
            told = _first_sentence(complaint) or f"git {words[0]} failed with {process.returncode}"
            raise GitFailed(told, code=process.returncode, output=data.decode(errors="replace"))
        return data.decode(errors="replace"), whole

    def _start(self, words: tuple[str, ...], index: Path | str) -> "subprocess.Popen[bytes]":
        settings = [word for setting in SAFE for word in ("-c", setting)]
        place = ["--git-dir", str(self.git_dir), "--work-tree", str(self.directory)] if self.git_dir else []
        try:
            return subprocess.Popen(
                ["git", *settings, *place, *words],
                cwd=self.directory,
                env=_environment(index),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A worker that is killed must not take a half-done checkout with it: git finishes on its own.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            missing = "git is not installed on this machine" if error.filename == "git" else f"no {self.directory}"
            raise GitFailed(missing) from None
        except NotADirectoryError:
            raise GitFailed(f"{self.directory} is not a directory") from None


def _environment(index: Path | str) -> dict[str, str]:
    name, address = IDENTITY
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    own = {
        "LC_ALL": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": address,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": address,
    }
    return {**kept, **own, **({"GIT_INDEX_FILE": str(index)} if index else {})}


def _drain(process: "subprocess.Popen[bytes]", limit: int) -> tuple[bytes, bytes, bool]:
    """Read both pipes to their ends, or until `limit` bytes of output are exceeded. Raises TimeoutError."""
    assert process.stdout is not None  # noqa: S101 - asked for in _start
    assert process.stderr is not None  # noqa: S101
    output, complaint = process.stdout.fileno(), process.stderr.fileno()
    found = {output: bytearray(), complaint: bytearray()}
    deadline = time.monotonic() + TIMEOUT_SECONDS
    poll = select.poll()
    for pipe in found:
        poll.register(pipe, select.POLLIN)
    open_pipes = len(found)
    with process.stdout, process.stderr:
        while open_pipes:
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                raise TimeoutError
            for pipe, _ in ready:
                piece = os.read(pipe, READ_BYTES)
                found[pipe] += piece
                if not piece:
                    poll.unregister(pipe)
                    open_pipes -= 1
            if limit and len(found[output]) > limit:
                return bytes(found[output][:limit]), bytes(found[complaint]), False
    return bytes(found[output]), bytes(found[complaint]), True


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End git and whatever it started; its group is its own."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _first_sentence(complaint: bytes) -> str:
    lines = [line.strip() for line in complaint.decode(errors="replace").splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "")
    return told.removeprefix("fatal:").removeprefix("error:").strip()
