"""Run a backend's command on pipes, record it as the shim would, and enter the facts as the database would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from runners.backends.base import Backend, Command, FailureFact, MessageFact, SessionFact, StateFact, UsageFact
from runners.backends.running_totals import handed_on
from runners.shim.following import Following
from runners.shim.loop import Loop
from tests.fake_models import Usage

Record = dict[str, Any]
#: What was asked to stop and has not ended by then is killed, as by the shim: OpenCode has ignored a SIGINT.
GRACE_SECONDS = 30.0


class Process:
    """A program on pipes whose output becomes telemetry records."""

    def __init__(self, command: Command, *, env: Mapping[str, str], cwd: Path) -> None:
        self.records: list[Record] = []
        self._asked_to_stop = False
        self._arrived = threading.Condition()
        pipe = subprocess.PIPE
        self._following = Following(Loop(), asdict(command.follow) if command.follow else None, self._followed)
        # A group of its own: signals go to all of it as from the shim. Some programs are a script around the real one.
        self._process = subprocess.Popen(
            command.argv, env={**env}, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        self._add(kind="started", pid=self._process.pid, start_ticks=time.monotonic_ns(), boot_id="here")
        streams = {"stdout": self._process.stdout, "stderr": self._process.stderr}
        self._readers = [threading.Thread(target=self._read, args=item, daemon=True) for item in streams.items()]
        for reader in self._readers:
            reader.start()
        assert self._process.stdin is not None
        self._process.stdin.write(command.stdin.encode())
        self._process.stdin.close()

    def send(self, signal_number: signal.Signals, *, as_stop: bool = False) -> None:
        """Send a signal; `as_stop`: an operator asked for it, which the shim notes first."""
        if as_stop:
            self._asked_to_stop = True
            self._add(kind="stopping", reason="asked")
        os.killpg(self._process.pid, signal_number)

    def kill(self) -> None:
        """End what still runs of it: a test that failed may have left it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def wait_for(self, word: str, timeout_seconds: float = 60) -> None:
        """Return when a line of output holds `word`."""
        with self._arrived:
            seen = self._arrived.wait_for(lambda: any(word in r.get("text", "") for r in self.records), timeout_seconds)
        if not seen:
            raise TimeoutError(f"{word!r} was not printed: {self.records[-5:]}")

    def finish(self, timeout_seconds: float = 150) -> list[Record]:
        """Return the records of the whole run when it has ended."""
        try:
            if self._asked_to_stop:
                self._end_after_grace()
            code = self._process.wait(timeout_seconds)
        finally:
            self.kill()
        for reader in self._readers:
            reader.join(10)
        self._following.finish()
        ended = {"code": code, "signal": None} if code >= 0 else {"code": None, "signal": -code}
        self._add(kind="exit", reason="", rusage={}, duration_seconds=0.0, **ended)
        return self.records

    def _end_after_grace(self) -> None:
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self, name: str, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._add(kind="line", stream=name, text=line.decode("utf-8", "replace").rstrip("\n"))
                if name == "stdout":
                    self._following.hear(line)

    def _followed(self, line: bytes, partial: bool) -> None:
        self._add(kind="line", stream="log", text=line.decode("utf-8", "replace"))

    def _add(self, **record: Any) -> None:
        with self._arrived:
            self.records.append({"t": time.time(), **record})
            self._arrived.notify_all()


@dataclass
class Ledger:
    """What the rows of one session would hold: each key once, in order of arrival."""

    messages: dict[str, MessageFact] = field(default_factory=dict)
    usage: dict[str, UsageFact] = field(default_factory=dict)
    sessions: list[SessionFact] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    states: list[StateFact] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    def take(self, backend: Backend, records: Iterable[Record]) -> Ledger:
        """Enter the facts of `records`, the parser's memory going through JSON each time as it does in the database."""
        for record in records:
            for fact in backend.read(record, self.state):
                match fact:
                    case MessageFact():
                        self.messages.setdefault(fact.key, fact)
                    case UsageFact():
                        self.usage.setdefault(fact.key, fact)
                    case SessionFact():
                        self.sessions.append(fact)
                    case FailureFact():
                        self.failures.append(fact.reason)
                    case StateFact():
                        self.states.append(fact)
            # jsonb does not keep the order of keys.
            self.state = json.loads(json.dumps(self.state, sort_keys=True))
        return self

    def tokens_of_answers(self, backend: Backend) -> list[Usage]:
        """Return for each message what the answer used that it is of, as the API finds it: by the keys."""
        answers = [backend.answer_of(message.key) for message in self.messages.values()]
        entries = {answer: [f for k, f in self.usage.items() if k.startswith(f"usage:{answer}:")] for answer in answers}
        return [sum(map(_usage, entries[answer]), Usage()) for answer in answers]

    def next_run(self) -> Ledger:
        """Go on as a resumed session does: of the parser's memory only the totals are handed on."""
        totals = self.state.get("totals")
        self.state = {"totals": totals} if totals else {}
        return self

    def fork(self) -> Ledger:
        """Return the ledger of a session that begins as a copy of this one."""
        totals = self.state.get("totals")
        return Ledger(state={"totals": handed_on(totals)} if totals else {})

    @property
    def activities(self) -> list[str]:
        """What the program was about, one after the other."""
        return [str(fact.activity) for fact in self.states]

    @property
    def tokens(self) -> Usage:
        return sum((_usage(fact) for fact in self.usage.values()), Usage())

    @property
    def tokens_by_model(self) -> dict[str, Usage]:
        models = {fact.model for fact in self.usage.values()}
        return {m: sum((_usage(f) for f in self.usage.values() if f.model == m), Usage()) for m in models}

    @property
    def cost_usd(self) -> Decimal | None:
        """The sum of the costs, or None if an entry's cost is neither known nor settled by a later one."""
        entries = list(self.usage.values())
        open_entries = 0
        for entry in entries:
            open_entries = 0 if entry.settles else open_entries + (entry.cost_usd is None)
        return None if open_entries else sum((e.cost_usd for e in entries if e.cost_usd is not None), Decimal(0))

    def said(self) -> list[tuple[str, str, str]]:
        """The messages as (role, tool, text)."""
        return [(str(m.role), m.tool_name, m.text) for m in self.messages.values()]


def _usage(fact: UsageFact) -> Usage:
    return Usage(
        input_tokens=fact.input_tokens,
        output_tokens=fact.output_tokens,
        cache_read_tokens=fact.cache_read_tokens,
        cache_write_tokens=fact.cache_write_tokens,
    )
