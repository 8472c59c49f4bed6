"""Cut messages into the chunks that search finds."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, OuterRef

from outbox.services.wake import wake_for_after_commit
from runners.models import Message, MessageChunk
from runners.sql import NewChunk, insert_chunks

WORDS_PER_CHUNK = 200
#: A "word" of a minified file may be megabytes: a chunk ends here at the latest, inside it if need be.
CHUNK_CHARACTERS = 2_000
#: Of one message: what a tool printed beyond is in the message, but is not searched.
INDEXED_CHARACTERS = 200_000
#: Messages of one transaction when history is indexed afterwards.
BATCH = 500
EMBED_TASK = "runners.tasks.embed_waiting"

_WORD = re.compile(r"\S+\s*")


class Said(NamedTuple):
    """What of a message is searched."""

    message_id: int
    text: str
    tool_name: str
    tool_input: Any


def index(messages: Iterable[Said]) -> int:
    """Write the chunks of messages that have none yet; return how many."""
    chunks = [
        NewChunk(said.message_id, position, text)
        for said in messages
        for position, text in enumerate(chunks_of(searched_text(said)))
    ]
    if insert_chunks(chunks):
        wake_for_after_commit(EMBED_TASK)
    return len(chunks)


def index_the_rest(batch: int = BATCH) -> int:
    """Index the messages that have no chunk: those from before there was search. Return how many chunks were written.

    May be interrupted and begun again; what another process writes meanwhile is passed over.
    """
    written, after = 0, 0
    while waiting := _unindexed(after, batch):
        with transaction.atomic():
            written += index(waiting)
        after = waiting[-1].message_id
    return written


def _unindexed(after: int, batch: int) -> list[Said]:
    chunks = MessageChunk.objects.filter(message_id=OuterRef("pk"))
    found = Message.objects.filter(~Exists(chunks), pk__gt=after).order_by("pk")
    return [Said(*row) for row in found.values_list("pk", "text", "tool_name", "tool_input")[:batch]]


def searched_text(said: Said) -> str:
    """Return the words of a message: the tool's name, what it was called with, and the text."""
    parts = [said.tool_name, *_strings(said.tool_input), said.text]
    text = "\n".join(part for part in parts if part)[:INDEXED_CHARACTERS]
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _strings(value: Any) -> Iterator[str]:
    """Give the names and values of a tool's input, in their order. A stack, as its depth is the program's choice."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [part for pair in reversed(item.items()) for part in reversed(pair)]
        elif isinstance(item, list):
            waiting += reversed(item)
        elif item is not None:
            yield str(item)


def chunks_of(text: str) -> Iterator[str]:
    """Cut a text between words into chunks of at most 200 words and 2,000 characters; blank ones are left out."""
    if len(text) <= CHUNK_CHARACTERS and len(text.split(maxsplit=WORDS_PER_CHUNK)) <= WORDS_PER_CHUNK:
        # Nearly all messages: the same as below, without looking at each word.
        if whole := text.lstrip():
            yield whole
        return
    chunk: list[str] = []
    size = 0
    for piece in _pieces(text):
        if chunk and (len(chunk) == WORDS_PER_CHUNK or size + len(piece) > CHUNK_CHARACTERS):
            yield "".join(chunk)
            chunk, size = [], 0
        chunk.append(piece)
        size += len(piece)
    if chunk:
        yield "".join(chunk)


def _pieces(text: str) -> Iterator[str]:
    """Give each word with the space after it, cut where it is longer than a chunk."""
    for found in _WORD.finditer(text):
        word = found.group()
        for start in range(0, len(word), CHUNK_CHARACTERS):
            yield word[start : start + CHUNK_CHARACTERS]
