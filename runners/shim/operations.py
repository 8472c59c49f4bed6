"""What may be asked of a shim over its control socket."""

import base64
import binascii
import signal

from runners.shim import identity
from runners.shim.agent import Stdio, set_size
from runners.shim.control import Answer, Refused, Request
from runners.shim.ending import Ending
from runners.shim.spool import Spool
from runners.shim.streams import Input

MAX_COLUMNS = 1000
MAX_ROWS = 1000
MAX_GRACE_SECONDS = 86_400
MAX_REASON_CHARACTERS = 500
MAX_KEY_CHARACTERS = 200
#: Far more than an agent asks for while one answer is on its way.
MAX_KEYS = 4096


def _number(request: Request, name: str, low: float, high: float, default: float | None = None) -> float:
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Refused(f"`{name}` is a number from {low:g} to {high:g}.")
    return value


def _reason(request: Request, default: str) -> str:
    return str(request.get("reason") or default)[:MAX_REASON_CHARACTERS]


class Operations:
    """Serves requests; each operation is the method of its name."""

    NAMES = ("status", "input", "resize", "signal", "pause", "resume", "stop", "kill")

    def __init__(
        self, ending: Ending, agent_input: Input, spool: Spool, stdio: Stdio, grace_seconds: float, started_at: float
    ) -> None:
        self._ending = ending
        self._input = agent_input
        self._spool = spool
        self._terminal = stdio.terminal
        self._grace_seconds = grace_seconds
        self._started_at = started_at
        #: The keys of input that must not be given twice, in their order.
        self._given: dict[str, None] = {}

    def serve(self, request: Request) -> Answer:
        """Run one request, or raise Refused."""
        op = request.get("op")
        if op not in self.NAMES:
            raise Refused(f"There is no operation {op!r}; there are {', '.join(self.NAMES)} and subscribe.")
        answer: Answer = getattr(self, str(op))(request)
        return answer

    def status(self, _: Request) -> Answer:
        """Tell how the agent does."""
        agent = self._ending.agent
        return {
            "state": self._state(),
            "agent": {"pid": agent.pid, "start_ticks": agent.start_ticks, "boot_id": identity.boot_id()},
            "started_at": self._started_at,
            "tty": self._terminal is not None,
            "input_open": self._input.is_open,
            "output_bytes": self._spool.cast.file.size,
            "telemetry_bytes": self._spool.telemetry.size,
            **self._spool.faults(),
        }

    def _state(self) -> str:
        if self._ending.death or self._ending.gone:
            return "ended"
        if self._ending.verdict:
            return "stopping"
        return "paused" if self._ending.paused else "running"

    def _need_agent(self) -> None:
        if self._ending.death:
            raise Refused("The agent has ended.")

    def input(self, request: Request) -> Answer:
        """Type into the agent: `data` is text, or `base64` bytes. With a key in `once`, a repeat types nothing."""
        self._need_agent()
        data = self._bytes(request)
        once = request.get("once")
        if once is not None and not (isinstance(once, str) and 0 < len(once) <= MAX_KEY_CHARACTERS):
            raise Refused(f"`once` is a text of at most {MAX_KEY_CHARACTERS} characters.")
        if once in self._given:
            return {"bytes": 0}
        if not self._input.is_open:
            raise Refused("The agent's input is closed: it does not run on a terminal.")
        if not self._input.write(data):
            raise Refused("The agent does not read its input, and too much waits already.")
        if isinstance(once, str):
            self._note_given(once)
        return {"bytes": len(data)}

    def _note_given(self, once: str) -> None:
        """Remember the key, and put on record that it went in."""
        self._given[once] = None
        if len(self._given) > MAX_KEYS:
            del self._given[next(iter(self._given))]
        self._spool.tell("given", once=once)

    def _bytes(self, request: Request) -> bytes:
        text, encoded = request.get("data"), request.get("base64")
        if isinstance(text, str):
            return text.encode("utf-8", "replace")
        if not isinstance(encoded, str):
            raise Refused("`data` is text, or `base64` is bytes in base64.")
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise Refused("`base64` is not valid base64.") from None

    def resize(self, request: Request) -> Answer:
        """Change the terminal's size."""
        columns = int(_number(request, "columns", 1, MAX_COLUMNS))
        rows = int(_number(request, "rows", 1, MAX_ROWS))
        self._need_agent()
        if self._terminal is None:
            raise Refused("The agent does not run on a terminal.")
        set_size(self._terminal, columns, rows)
        self._spool.resized(columns, rows)
        return {}

    def signal(self, request: Request) -> Answer:
        """Send a signal to the agent's group, by its name."""
        name = request.get("signal")
        if name not in signal.Signals.__members__:
            raise Refused("`signal` is the name of a signal, such as SIGUSR1.")
        if name in ("SIGSTOP", "SIGCONT", "SIGKILL"):
            raise Refused("Use pause, resume or kill: they reach all of the agent's processes.")
        self._need_agent()
        self._ending.signal_group(signal.Signals[str(name)])
        return {}

    def pause(self, _: Request) -> Answer:
        """Suspend all of the agent's processes."""
        self._need_agent()
        if self._ending.verdict:
            raise Refused("The agent is being stopped.")
        return {"changed": self._ending.pause()}

    def resume(self, _: Request) -> Answer:
        """Let them go on."""
        self._need_agent()
        return {"changed": self._ending.resume()}

    def stop(self, request: Request) -> Answer:
        """Ask the agent to end, and see to it after the grace period."""
        grace = _number(request, "grace_seconds", 0, MAX_GRACE_SECONDS, self._grace_seconds)
        self._ending.stop(grace, _reason(request, "stopped"))
        return {}

    def kill(self, request: Request) -> Answer:
        """End the agent and all below it at once."""
        self._ending.kill(_reason(request, "killed"))
        return {}
