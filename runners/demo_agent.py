"""A scripted agent, to see Stratavore work without a model, a key or a network.

It behaves on its terminal as such programs do: it plans, thinks, runs tools (for real: git, files of the workspace),
changes a file, shows the difference, and can be talked to. It tells what it does as JSON lines to the pipe named in
STRATAVORE_REPORT (runners/backends/reports.py has the words), and its invented tokens and cost with it.

It is executed by itself, `python -I -S demo_agent.py`, so it imports nothing but the standard library.
"""

import argparse
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

MODEL = "demo-1"
#: Dollars for a million tokens; invented, of the order of a small model's.
INPUT_PRICE, OUTPUT_PRICE = 1.0, 5.0
NOTES = "NOTES.md"
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_SECONDS = 0.12
#: A pause of the process (SIGSTOP) makes one look at the clock much later than the next: it does not count as work.
LONGEST_TICK_SECONDS = 0.5

DIM, BOLD, RED, GREEN, BLUE, VIOLET, GREY = "2", "1", "31", "32", "34", "38;5;141", "38;5;245"

THOUGHTS = (
    "Let me see what is here before I touch anything.",
    "Small steps: look, then change one thing, then check it.",
    "The notes should say what I found, not what I guessed.",
    "One file is enough; the rest is fine as it is.",
    "Checking the difference, so that nothing surprises anyone.",
)
REPLIES = (
    "Noted. I will keep that in mind for the next step.",
    "Good point. It changes nothing for the file I am in, but I will say so in the notes.",
    "I can do that once this step is through.",
)


class Goodbye(Exception):
    """The person at the terminal wants it to end."""


class Reports:
    """The pipe to Stratavore. Without one, or when its reader is gone, nothing is told."""

    def __init__(self, path: str) -> None:
        self._number = 0
        self._pipe: int | None = None
        try:
            # Without O_NONBLOCK an open would wait for a reader for ever; a write may wait until there is room.
            self._pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK) if path else None
        except OSError:
            return
        if self._pipe is not None:
            os.set_blocking(self._pipe, True)

    def tell(self, kind: str, **fields: Any) -> None:
        """Write one report, if there is anyone to read it."""
        if self._pipe is None:
            return
        self._number += 1
        line = json.dumps({"type": kind, "id": str(self._number), **fields}, ensure_ascii=False)
        try:
            os.write(self._pipe, line.encode() + b"\n")
        except BrokenPipeError:
            os.close(self._pipe)
            self._pipe = None


class Screen:
    """The terminal, or whatever is in its place."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self._spinning = False

    def line(self, text: str = "") -> None:
        """Print a line, over the spinner if it shows."""
        self._clear()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def type(self, text: str, pause: Callable[[float], None]) -> None:
        """Print a line word by word."""
        self._clear()
        for word in text.split(" "):
            sys.stdout.write(word + " ")
            sys.stdout.flush()
            pause(random.uniform(0.01, 0.05))  # noqa: S311 - a rhythm, not a secret
        self.line()

    def spin(self, frame: int, text: str) -> None:
        """Draw the next frame of the spinner; without a terminal, nothing."""
        if not self.live:
            return
        self._clear()
        room = max(shutil.get_terminal_size((80, 24)).columns - 4, 8)
        sys.stdout.write(f"{paint(FRAMES[frame % len(FRAMES)], VIOLET)} {paint(text[:room], GREY)}")
        sys.stdout.flush()
        self._spinning = True

    def _clear(self) -> None:
        if self._spinning:
            sys.stdout.write("\r\x1b[2K")
            self._spinning = False


def paint(text: str, *codes: str) -> str:
    """Return `text` in colours that a terminal of any theme can show."""
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m"


class Agent:
    """One run: a plan of steps over a number of seconds."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.screen = Screen()
        self.reports = Reports(os.environ.get("STRATAVORE_REPORT", ""))
        self.step_seconds = options.seconds / options.steps
        self.input_tokens = self.output_tokens = 0
        self.cost_usd = 0.0
        self.calls = 0
        self._typed = b""
        self._listening = not sys.stdin.closed

    def run(self) -> int:
        """Do the work; return the exit code."""
        self.greet()
        steps = list(self.plan())
        for number, (title, step) in enumerate(steps, start=1):
            self.screen.line()
            self.screen.line(f"{paint(f'{number}/{len(steps)}', GREY)} {paint(title, BOLD)}")
            self.think(THOUGHTS[(number - 1) % len(THOUGHTS)], self.step_seconds * 0.6)
            step()
            self.spend(number)
            self.wait(self.step_seconds * 0.4, "Reading what came out")
        self.flood(self.options.flood)
        if self.options.fail:
            return self.give_up()
        self.say(f"Done: {len(steps)} steps, and {NOTES} says what I saw.")
        self.bill()
        if self.options.talk:
            self.talk()
        return 0

    def greet(self) -> None:
        """Print who works where on what."""
        width = min(shutil.get_terminal_size((80, 24)).columns, 72)
        self.screen.line(paint("─" * width, VIOLET))
        self.screen.line(f"{paint('◆ demo agent', BOLD, VIOLET)}  {paint(f'{MODEL} · {Path.cwd()}', GREY)}")
        self.screen.line(f"  {headline(self.options.task)}")
        self.screen.line(paint("─" * width, VIOLET))
        self.reports.tell("session", id="", title=headline(self.options.task)[:200])

    def plan(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield as many steps as were asked for; one of them changes the notes."""
        steps = (
            ("Look at the state of the repository", self.git_status),
            ("List the files", self.list_files),
            ("Read one of them", self.read_file),
            (f"Write it down in {NOTES}", self.write_notes),
            ("Check the change", self.check_change),
        )
        start = max(0, 4 - self.options.steps)
        for number in range(self.options.steps):
            yield steps[(start + number) % len(steps)]

    # --- Steps -------------------------------------------------------------------------------------------------------

    def git_status(self) -> None:
        self.command(["git", "status", "--short", "--branch"])

    def list_files(self) -> None:
        names = [name for name, _ in zip(visible_files(), range(12), strict=False)]
        self.tool("List", {"directory": "."}, "\n".join(names) or "There are no files yet.")

    def read_file(self) -> None:
        name = next(visible_files(), "")
        if not name:
            self.tool("Read", {"path": NOTES}, "It does not exist yet.", is_error=True)
            return
        with Path(name).open(encoding="utf-8", errors="replace") as file:
            head = "".join(file.readline(500) for _ in range(5))
        self.tool("Read", {"path": name, "lines": 5}, head.rstrip() or "It is empty.")

    def write_notes(self) -> None:
        files = sum(1 for _ in visible_files())
        note = f"- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: the demo agent looked around and saw {files} files."
        with Path(NOTES).open("a", encoding="utf-8") as notes:
            notes.write(note + "\n")
        self.tool("Edit", {"path": NOTES, "append": note}, f"+ {note}", colour=GREEN)

    def check_change(self) -> None:
        self.command(["git", "status", "--short", "--", NOTES])

    # --- What it does on each of them --------------------------------------------------------------------------------

    def command(self, argv: list[str]) -> None:
        """Run a program and show what it printed."""
        try:
            done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=10, check=False)
            output, failed = (done.stdout + done.stderr).strip(), done.returncode != 0
        except (OSError, subprocess.TimeoutExpired) as error:
            output, failed = str(error), True
        self.tool("Shell", {"command": " ".join(argv)}, output or "(nothing)", is_error=failed)

    def tool(
        self, name: str, given: dict[str, Any], result: str, *, is_error: bool = False, colour: str = GREY
    ) -> None:
        """Show a tool's call and what came of it, and report both."""
        result = result[:1500]  # a taste of it: reports are short
        self.screen.line(f"{paint('▸', BLUE)} {paint(name, BOLD)} {paint(str(next(iter(given.values()))), GREY)}")
        for line in result.splitlines()[:8]:
            self.screen.line(f"  {paint('│', DIM)} {paint(line, RED if is_error else colour)}")
        self.calls += 1
        self.reports.tell("message", role="assistant", tool_name=name, tool_input=given, call_id=self.calls)
        self.reports.tell("message", role="tool", tool_name=name, text=result, is_error=is_error, call_id=self.calls)

    def think(self, thought: str, seconds: float) -> None:
        self.wait(seconds, "Thinking")
        self.say(thought)

    def say(self, text: str) -> None:
        self.screen.type(f"{paint('●', VIOLET)} {text}", time.sleep if self.step_seconds > 1 else lambda _: None)
        self.reports.tell("message", role="assistant", text=text)

    def spend(self, number: int) -> None:
        """Report this step's share of the tokens; the shares add up to --tokens exactly."""
        total, steps = self.options.tokens, self.options.steps
        share = total * number // steps - total * (number - 1) // steps
        self.use(share - share // 5, share // 5)

    def use(self, input_tokens: int, output_tokens: int) -> None:
        """Report tokens and what they cost."""
        cost = (input_tokens * INPUT_PRICE + output_tokens * OUTPUT_PRICE) / 1e6
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost_usd += cost
        tokens = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        self.reports.tell("usage", model=MODEL, cost_usd=f"{cost:.8f}", **tokens)

    def bill(self) -> None:
        self.screen.line(
            paint(f"  {self.input_tokens:,} tokens in, {self.output_tokens:,} out, ${self.cost_usd:.4f}", GREY)
        )

    def give_up(self) -> int:
        """End as an agent does that cannot go on."""
        reason = "The demo agent was told to fail, and did."
        self.screen.line(paint(f"✗ {reason}", RED))
        self.reports.tell("failure", reason=reason)
        return 1

    def flood(self, size: int) -> None:
        """Print `size` bytes as fast as they are taken."""
        row = "".join(chr(33 + number % 90) for number in range(99)) + "\n"
        for start in range(0, size, len(row)):
            sys.stdout.write(row[: size - start])
        sys.stdout.flush()

    # --- The person at the terminal ----------------------------------------------------------------------------------

    def talk(self) -> None:
        """Stay, and answer until /quit or the end of the input."""
        self.screen.line(paint("Talk to me; /help says how, /quit ends.", GREY))
        while self._listening:
            self.wait(3600, "Waiting for you")

    def wait(self, seconds: float, doing: str) -> None:
        """Pass the time with a spinner, answering what is typed."""
        passed, frame, before = 0.0, 0, time.monotonic()
        while passed < seconds:
            self.screen.spin(frame, f"{doing} … {passed:.0f} s · {self.input_tokens + self.output_tokens:,} tokens")
            if self.listen(min(FRAME_SECONDS, seconds - passed)):
                before = time.monotonic()
            if not self._listening and doing.startswith("Waiting"):
                return
            now = time.monotonic()
            passed += min(now - before, LONGEST_TICK_SECONDS)
            before, frame = now, frame + 1

    def listen(self, seconds: float) -> bool:
        """Wait a moment for input; return whether a line came and was answered."""
        if not self._listening:
            time.sleep(seconds)
            return False
        if not select.select([sys.stdin], [], [], seconds)[0]:
            return False
        data = os.read(sys.stdin.fileno(), 4096)
        self._listening = bool(data)
        *lines, self._typed = (self._typed + data).split(b"\n")
        for line in lines:
            self.answer(line.decode("utf-8", "replace").strip())
        return bool(lines)

    def answer(self, text: str) -> None:
        """Answer one typed line."""
        if text == "/quit":
            raise Goodbye
        if text == "/help":
            self.screen.line(paint("  /status tells where I am, /quit ends; anything else I answer.", GREY))
        elif text == "/status":
            self.bill()
        elif text:
            self.reports.tell("message", role="user", text=text[:1500])
            self.say(REPLIES[len(text) % len(REPLIES)])
            self.use(len(text) * 4, 40)

    def farewell(self, why: str) -> None:
        self.screen.line()
        self.screen.line(paint(f"◆ {why} Goodbye.", VIOLET))


def headline(task: str) -> str:
    """Return what a task is about: its first heading, for an agent's role stands before its job; or its first line."""
    lines = task.splitlines() or [task]
    return next((line.removeprefix("# ") for line in lines if line.startswith("# ")), lines[0])


def visible_files() -> Iterator[str]:
    """Yield the files of the workspace's top directory, but not the hidden ones."""
    with os.scandir() as entries:
        names: Iterable[str] = sorted(e.name for e in entries if e.is_file() and not e.name.startswith("."))
    yield from names


def read_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo-agent", description="A scripted agent.")
    parser.add_argument("--task", default="Look around and write down what is here.", help="what it says it works on")
    parser.add_argument("--seconds", type=float, default=20, help="how long it works")
    parser.add_argument("--steps", type=int, default=5, help="in how many steps")
    parser.add_argument("--tokens", type=int, default=12_000, help="how many it reports to have used")
    parser.add_argument("--flood", type=int, default=0, metavar="BYTES", help="print that much at the end, at once")
    parser.add_argument("--talk", action="store_true", help="stay when the work is done, and answer what is typed")
    parser.add_argument("--fail", action="store_true", help="end with an error")
    return parser.parse_args(arguments)


def terminated(signal_number: int, frame: FrameType | None) -> NoReturn:
    """Leave by the ordinary way when SIGTERM comes, so that the farewell is printed."""
    raise SystemExit(128 + signal_number)


def main(arguments: list[str]) -> int:
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    # A parent may have handed down an ignored SIGINT, as shells do for jobs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminated)
    agent = Agent(read_options(arguments))
    try:
        return agent.run()
    except Goodbye:
        agent.farewell("As you wish.")
        return 0
    except KeyboardInterrupt:
        agent.farewell("Interrupted.")
        return 130
    except SystemExit:
        agent.farewell("Terminated.")
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
