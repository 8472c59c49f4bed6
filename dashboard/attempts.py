"""The present attempt of a runner, as its node's agent knows it, and questions about its output."""

from dataclasses import dataclass
from uuid import UUID

from dashboard.cast import CastReader, Output
from dashboard.escapes import plain_text
from dashboard.node_agents import Reply, ask
from runners.exceptions import NodeUnreachable
from runners.models import Runner

READ_BYTES = 65_536
#: Asked from here, the agent answers with the last READ_BYTES.
TAIL = -1
#: The agent holds a question about new output for 10 s.
READ_TIMEOUT_SECONDS = 13.0
INPUT_TIMEOUT_SECONDS = 5.0
PAGE_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Attempt:
    """Where one attempt's run directory is."""

    node: str
    run: str
    generation: int
    output_bytes: int


def present_attempt(runner_id: UUID) -> Attempt | None:
    """Return the runner's present attempt, or None while it has no node, or when there is no such runner."""
    runner = Runner.objects.select_related("node", "observation").filter(pk=runner_id, node__isnull=False).first()
    if runner is None or runner.node is None:
        return None
    seen = getattr(runner, "observation", None)
    return Attempt(
        node=runner.node.name,
        run=f"{runner.pk.hex}.{runner.generation}",
        generation=runner.generation,
        output_bytes=seen.output_bytes if seen else 0,
    )


async def read_output(attempt: Attempt, offset: int, *, limit: float) -> Reply:
    """Return the recording from `offset` on: {"offset", "next", "data", "eof"}. Raises NodeUnreachable."""
    question = {"type": "terminal.read", "run": attempt.run, "offset": offset, "limit": READ_BYTES}
    return _checked(attempt, await ask(attempt.node, question, timeout=limit))


async def send_input(attempt: Attempt, data: str) -> None:
    """Type `data` into the terminal. Raises NodeUnreachable, also when the node refuses."""
    question = {"type": "terminal.input", "run": attempt.run, "data": data}
    _checked(attempt, await ask(attempt.node, question, timeout=INPUT_TIMEOUT_SECONDS))


async def resize(attempt: Attempt, columns: int, rows: int) -> None:
    """Make the terminal this large. Raises NodeUnreachable, also when the node refuses."""
    question = {"type": "terminal.resize", "run": attempt.run, "columns": columns, "rows": rows}
    _checked(attempt, await ask(attempt.node, question, timeout=INPUT_TIMEOUT_SECONDS))


async def output_as_text(attempt: Attempt) -> str:
    """Return the end of the output without escape sequences. Raises NodeUnreachable after two seconds."""
    reply = await read_output(attempt, TAIL, limit=PAGE_TIMEOUT_SECONDS)
    facts = CastReader().feed(reply["data"])
    return plain_text("".join(fact.text for fact in facts if isinstance(fact, Output)))


def _checked(attempt: Attempt, reply: Reply) -> Reply:
    if reply["type"] == "terminal.error":
        raise NodeUnreachable(f"{attempt.node} refused: {reply['error']}", node=attempt.node)
    return reply
