"""The present attempt of a runner, as its node's agent knows it, and questions about its output."""

from dataclasses import dataclass
from uuid import UUID

import structlog
from channels.db import database_sync_to_async

from dashboard.cast import CastReader, Output
from dashboard.escapes import plain_text
from dashboard.node_agents import Reply, ask
from runners.exceptions import NodeUnreachable, TranscriptError, TranscriptMissing
from runners.models import Runner, Transcript
from runners.services.transcripts.read import read_lines
from runners.states import TranscriptKind

log = structlog.get_logger(__name__)

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
    #: All its output is in storage.
    is_kept: bool = False


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
        is_kept=kept_output(runner.pk, runner.generation) is not None,
    )


def kept_output(runner_id: UUID, generation: int) -> Transcript | None:
    """Return the recording of an attempt's terminal if all of it is in storage."""
    found = Transcript.objects.filter(runner_id=runner_id, generation=generation, kind=TranscriptKind.OUTPUT)
    return found.filter(completed_at__isnull=False, removed_at__isnull=True).first()


async def read_output(attempt: Attempt, offset: int, *, limit: float) -> Reply:
    """Return the recording from `offset` on: {"offset", "next", "data", "eof"}. Raises NodeUnreachable.

    What has ended and is stored is read from storage: its node may be away, or have cleared its directory.
    """
    if attempt.is_kept:
        try:
            kept: Reply = await database_sync_to_async(read_kept, thread_sensitive=False)(attempt, offset)
            return kept
        except TranscriptError as error:
            log.warning("transcript_not_shown", run=attempt.run, error=error.message)
    question = {"type": "terminal.read", "run": attempt.run, "offset": offset, "limit": READ_BYTES}
    return _checked(attempt, await ask(attempt.node, question, timeout=limit))


def read_kept(attempt: Attempt, offset: int) -> Reply:
    """Answer as the node would, from storage. Raises TranscriptError."""
    runner, _, generation = attempt.run.partition(".")
    transcript = kept_output(UUID(runner), int(generation))
    if transcript is None:
        raise TranscriptMissing("It was removed meanwhile.")
    start = offset if offset >= 0 else max(0, transcript.size_bytes - READ_BYTES)
    size, found = 0, []
    for line in read_lines(transcript, start):
        found.append(line)
        size += len(line)
        if size >= READ_BYTES:
            break
    if offset < 0 and start and found:
        start += len(found.pop(0))  # begin at a line's beginning
    data = b"".join(found)
    eof = not data
    return {"offset": start, "next": start + len(data), "data": data.decode(errors="replace"), "eof": eof}


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
