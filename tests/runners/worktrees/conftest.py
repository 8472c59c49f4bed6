"""Real repositories."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runners.models import Project
from tests.conftest import not_tested
from tests.runners.factories import make_project

PERSON = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def git(directory: Path | str, *words: str) -> str:
    """Run git as a person would, and return what it prints."""
    result = subprocess.run(
        ["git", *words], cwd=directory, env={**os.environ, **PERSON}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.rstrip("\n")


def write(directory: Path | str, **files: str) -> None:
    """Write files; in a name, __ is a dot."""
    for name, text in files.items():
        (Path(directory) / name.replace("__", ".")).write_text(text)


def commit(directory: Path | str, message: str = "a change", **files: str) -> str:
    """Commit files, and return the commit."""
    write(directory, **files)
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(directory, "rev-parse", "HEAD")


@pytest.fixture
def make_repository() -> Callable[..., Project]:
    """Make projects whose directory is a git repository on branch main with one commit."""
    if not shutil.which("git"):
        not_tested("worktrees", "There is no git here", "Install it: apt-get install git.")

    def make() -> Project:
        project = make_project()
        git(project.path, "init", "--quiet", "--initial-branch=main")
        commit(project.path, "first", readme__md="one\ntwo\nthree\n")
        return project

    return make


@pytest.fixture
def project(db: None, make_repository: Callable[..., Project]) -> Project:
    return make_repository()
