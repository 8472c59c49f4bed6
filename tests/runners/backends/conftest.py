"""Fixtures of the backend tests: a node's view of a program, without a database."""

import uuid
from pathlib import Path

import pytest

from runners.models import Session
from tests.fake_models.fixture import model_server

__all__ = ["model_server"]


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    """An empty directory to work in."""
    path = tmp_path / "worktree"
    path.mkdir()
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory that no other test has touched."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def session() -> Session:
    """A conversation that no program has seen."""
    return Session(id=uuid.uuid4())
