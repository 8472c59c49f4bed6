"""docs/backends.md is true: the tests it names exist, and its example works as it stands."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.exceptions import ImproperlyConfigured

from runners.backends import get_backend
from runners.checks import backends_and_runtimes_can_be_imported
from runners.models import Runner
from stratavore_site import environment
from tests.fake_models import Usage
from tests.runners.backends.telemetry import Ledger, Process

TESTS = Path(__file__).resolve().parents[2]
TEXT = (TESTS.parent / "docs" / "backends.md").read_text()
FILE, TEST = re.compile(r"`(test_\w+\.py)`"), re.compile(r"`(test_\w+)`")

PARROT = """#!/bin/sh
read -r prompt
echo '{"id": "a1", "text": "Hello.", "tokens": 10}'
echo 'squawk'
echo "{\\"id\\": \\"a2\\", \\"text\\": \\"You said: $prompt\\", \\"tokens\\": 25}"
"""


def columns() -> dict[str, list[str]]:
    """Return the cells of the table, by backend."""
    table = TEXT[TEXT.index("| | command |") :].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if "---" not in line]
    return {
        name.strip(" |"): [row[place] for row in rows[1:]] for place, name in enumerate(rows[0]) if name.strip(" |")
    }


def test_every_backend_has_its_column() -> None:
    assert list(columns()) == ["command", "demo", "claude_code", "claude_terminal", "codex", "opencode", "gemini"]
    assert set(columns()) == set(configured.RUNNER_BACKENDS)


@pytest.mark.parametrize("backend", sorted(columns()))
def test_every_test_that_a_cell_names_exists(backend: str) -> None:
    files, *cells = columns()[backend]
    sources = [path.read_text() for name in FILE.findall(files) for path in TESTS.rglob(name)]
    written = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    named = {name for cell in cells for name in TEST.findall(cell)}
    assert named
    assert named <= written


@pytest.fixture
def parrot(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The example of the page as a module of somebody's own, named in the settings, and the program it drives."""
    start = TEXT.rindex("```python\n", 0, TEXT.index("class ParrotBackend")) + len("```python\n")
    source = TEXT[start : TEXT.index("```", start)]
    module = ModuleType("parrot_of_ours")
    exec(compile(source, "docs/backends.md", "exec"), module.__dict__)  # noqa: S102 - our own page
    monkeypatch.setitem(sys.modules, "parrot_of_ours", module)
    settings.RUNNER_BACKENDS = {**settings.RUNNER_BACKENDS, "parrot": "parrot_of_ours.ParrotBackend"}
    program = tmp_path / "bin" / "parrot"
    program.parent.mkdir()
    program.write_text(PARROT)
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    get_backend.cache_clear()
    yield get_backend("parrot")
    get_backend.cache_clear()


def test_the_example_of_a_backend_of_ones_own_works_as_it_stands(parrot: Any, worktree: Path) -> None:
    assert not backends_and_runtimes_can_be_imported()
    runner = Runner(backend="parrot", prompt="polly\n", flags=["--mood=grumpy"])
    parrot.check_flags(runner.flags)
    command = parrot.command(runner, parrot.find())
    ledger = Ledger().take(parrot, Process(command, env=dict(os.environ), cwd=worktree).finish())
    assert ledger.said() == [("assistant", "", "Hello."), ("assistant", "", "You said: polly")]
    assert ledger.tokens == Usage(output_tokens=25)
    assert ledger.state["unparsed"] == 1


def test_backends_of_ones_own_are_named_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATAVORE_BACKENDS", "parrot=ours.parrot.ParrotBackend, crow=ours.crow.Crow")
    named = environment.classes("STRATAVORE_BACKENDS")
    assert named == {"parrot": "ours.parrot.ParrotBackend", "crow": "ours.crow.Crow"}
    monkeypatch.setenv("STRATAVORE_BACKENDS", "Parrot")
    with pytest.raises(ImproperlyConfigured, match="STRATAVORE_BACKENDS must look like"):
        environment.classes("STRATAVORE_BACKENDS")
