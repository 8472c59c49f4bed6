"""The demo agent, run on a terminal as the backend says."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from runners.backends.base import LaunchRequest
from runners.backends.demo import DemoBackend
from runners.exceptions import InvalidRequest
from runners.models import Runner
from tests.fake_models import Usage
from tests.runners.backends.telemetry import Ledger
from tests.runners.backends.terminal import Terminal

BACKEND = DemoBackend()
Start = Callable[..., Terminal]


@pytest.fixture
def start(worktree: Path, tmp_path: Path) -> Iterator[Start]:
    terminals: list[Terminal] = []

    def start(*flags: str, prompt: str = "", env: dict[str, str] | None = None) -> Terminal:
        command = BACKEND.command(Runner(backend="demo", prompt=prompt, flags=[*flags]), sys.executable)
        assert command.tty
        terminals.append(Terminal(command, cwd=worktree, fifo=tmp_path / f"report{len(terminals)}", env=env))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def test_it_works_reports_and_changes_a_file(start: Start, worktree: Path) -> None:
    subprocess.run(["git", "init", "-q", str(worktree)], check=True)
    (worktree / "README.md").write_text("Hello\n")
    terminal = start("--seconds=1", "--tokens=1003", prompt="Tidy up the notes")
    assert terminal.finish() == 0

    ledger = Ledger().take(BACKEND, terminal.records)
    assert "the demo agent looked around" in (worktree / "NOTES.md").read_text()
    assert [fact.title for fact in ledger.sessions] == ["Tidy up the notes"]
    tools = [(m.role, m.tool_name) for m in ledger.messages.values() if m.tool_name]
    names = ["Shell", "List", "Read", "Edit", "Shell"]
    assert tools == [(role, name) for name in names for role in ("assistant", "tool")]
    shells = [m.text for m in ledger.messages.values() if m.role == "tool" and m.tool_name == "Shell"]
    assert "?? README.md" in shells[0], "the tools are real"
    assert shells[1] == "?? NOTES.md"
    assert ledger.tokens.input_tokens + ledger.tokens.output_tokens == 1003
    assert ledger.cost_usd is not None
    assert ledger.cost_usd > 0
    assert set(ledger.tokens_by_model) == {"demo-1"}
    assert "\x1b[" in terminal.output


def test_it_can_be_talked_to_and_leaves_when_told(start: Start) -> None:
    terminal = start("--seconds=0", "--talk")
    terminal.wait_for("Talk to me")
    terminal.type("What are you doing?\n")
    terminal.wait_for("●", timeout_seconds=5)
    terminal.type("/quit\n")
    assert terminal.finish() == 0

    said = Ledger().take(BACKEND, terminal.records).said()
    assert ("user", "", "What are you doing?") in said
    assert said[-1][0] == "assistant"
    assert "Goodbye." in terminal.output


def test_it_answers_while_it_works(start: Start) -> None:
    terminal = start("--seconds=30", "--steps=1")
    terminal.wait_for("Thinking")
    terminal.type("/status\n")
    terminal.wait_for("0 tokens in")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_a_goodbye(start: Start, number: signal.Signals, code: int) -> None:
    terminal = start("--seconds=30")
    terminal.wait_for("Thinking")
    terminal.send(number)
    assert terminal.finish() == code
    assert "Goodbye." in terminal.output


def test_ctrl_c_on_its_terminal_interrupts_it(start: Start) -> None:
    terminal = start("--seconds=30")
    terminal.wait_for("Thinking")
    terminal.type("\x03")
    assert terminal.finish() == 130


def test_it_can_be_told_to_fail(start: Start) -> None:
    terminal = start("--seconds=0", "--fail")
    assert terminal.finish() == 1
    assert Ledger().take(BACKEND, terminal.records).failures == ["The demo agent was told to fail, and did."]


def test_it_prints_a_flood_to_the_byte(start: Start) -> None:
    terminal = start("--seconds=0", "--steps=1", "--flood=1000000")
    assert terminal.finish() == 0
    row = "".join(chr(33 + number % 90) for number in range(99))
    assert terminal.output.count(row) == 10_000


def test_it_works_where_nobody_listens(worktree: Path) -> None:
    command = BACKEND.command(Runner(backend="demo", flags=["--seconds=0"]), sys.executable)
    for env in ({}, {"STRATAVORE_REPORT": str(worktree / "none")}):
        done = subprocess.run(command.argv, cwd=worktree, env=env, stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()


def test_a_pause_does_not_shorten_its_work(start: Start) -> None:
    terminal = start("--seconds=2", "--steps=1")
    terminal.wait_for("Thinking")
    terminal.send(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        terminal.process.wait(2.5)
    terminal.send(signal.SIGCONT)
    with pytest.raises(subprocess.TimeoutExpired):
        terminal.process.wait(0.5)
    assert terminal.finish() == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--steps", "many"], "--steps must be a whole number from 1 to 1000, not 'many'."),
        (["--seconds=-1"], "--seconds must be a number from 0 to 86400, not '-1'."),
        (["--steps"], "The flag --steps needs a value"),
        (["--steps", "--talk"], "The flag --steps needs a value"),
        (["--talk=yes"], "The flag --talk takes no value."),
        (["--task=x"], "does not know the flag --task"),
        (["word"], "does not know the flag word"),
    ],
)
def test_a_wrong_flag_is_refused_with_a_sentence(flags: list[str], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        BACKEND.check(LaunchRequest(backend="demo", flags=flags))
    assert sentence in refusal.value.message
    assert refusal.value.facts["field"] == "flags"


def test_its_prompt_is_never_taken_for_a_flag(start: Start) -> None:
    terminal = start("--seconds=0", prompt="--fail")
    assert terminal.finish() == 0
    assert Ledger().take(BACKEND, terminal.records).failures == []


def test_the_cost_is_exact(start: Start) -> None:
    terminal = start("--seconds=0", "--steps=2", "--tokens=1000")
    terminal.finish()
    ledger = Ledger().take(BACKEND, terminal.records)
    assert ledger.tokens == Usage(input_tokens=800, output_tokens=200)
    assert ledger.cost_usd == Decimal("0.0018")
