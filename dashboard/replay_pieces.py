"""The recording of an attempt's terminal, a piece at a time: from storage as far as it is there, else from its node."""

from dataclasses import dataclass

from asgiref.sync import async_to_sync

from dashboard.node_agents import ask
from runners.exceptions import NodeUnreachable, TranscriptMissing
from runners.models import Attempt, Transcript
from runners.services.transcripts.read import find_transcript, read_text
from runners.states import TERMINAL, TranscriptKind

#: Of one answer. A node is asked for less at once: it goes through the channel layer.
PIECE_BYTES = 2 * 1024 * 1024
ASKED_BYTES = 256 * 1024
#: A browser plays so much at most; the transcript can be downloaded whole.
LONGEST_BYTES = 64 * 1024 * 1024
NODE_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Piece:
    """Some bytes of an asciicast; `next` is where the rest begins."""

    data: bytes
    next: int
    #: There is nothing after it, for now.
    end: bool
    #: storage, node or messages.
    source: str
    #: It stays as it is for ever.
    fixed: bool = False


def read_piece(attempt: Attempt, offset: int) -> Piece:
    """Return the recording from a byte offset on. Raises TranscriptMissing if it is gone, NodeUnreachable."""
    try:
        transcript = find_transcript(attempt.runner_id, attempt.generation, TranscriptKind.OUTPUT)
    except TranscriptMissing:
        return _from_node(attempt, offset)
    if offset < transcript.size_bytes or transcript.is_complete:
        return _from_storage(transcript, offset)
    return _from_node(attempt, offset)


def _from_storage(transcript: Transcript, offset: int) -> Piece:
    until = min(offset + PIECE_BYTES, transcript.size_bytes)
    data = b"".join(read_text(transcript, offset, until)) if offset < until else b""
    end = transcript.is_complete and until >= transcript.size_bytes
    return Piece(data, max(until, offset), end, "storage", fixed=transcript.is_complete)


def _from_node(attempt: Attempt, offset: int) -> Piece:
    if attempt.node is None:
        raise TranscriptMissing("It was never given a node: there is no recording.")
    question = {
        "type": "terminal.read",
        "run": f"{attempt.runner_id.hex}.{attempt.generation}",
        "offset": offset,
        "limit": ASKED_BYTES,
        "hold": False,
    }
    reply = async_to_sync(ask)(attempt.node.name, question, timeout=NODE_TIMEOUT_SECONDS)
    if reply["type"] == "terminal.error":
        raise NodeUnreachable(f"{attempt.node.name} refused: {reply['error']}", node=attempt.node.name)
    data = str(reply["data"]).encode()
    if not data and not offset and attempt.status in TERMINAL:
        raise TranscriptMissing(f"{attempt.node.name} has no recording of it any more, and storage has none.")
    return Piece(data, int(reply["next"]), not data, "node")
