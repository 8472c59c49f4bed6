"""The whole of a message whose row holds its beginning: read from the transcript, where its record stands."""

import json
from typing import Any

from runners.backends import get_backend
from runners.backends.base import MessageFact
from runners.backends.lines import storable
from runners.exceptions import TranscriptMissing
from runners.models import Message
from runners.services.transcripts.read import find_transcript, read_text
from runners.states import TranscriptKind


def whole_message(message: Message) -> tuple[str, Any]:
    """Return text and tool's input of a message as its program told them.

    Raises TranscriptMissing as long as its record is on the node alone, or after it was removed.
    """
    if not message.more_characters or message.record_offset is None or message.record_bytes is None:
        return message.text, message.tool_input
    if message.runner_id is None or message.record_attempt is None:
        raise TranscriptMissing("Its runner is gone.")
    transcript = find_transcript(message.runner_id, message.record_attempt, TranscriptKind.TELEMETRY)
    end = message.record_offset + message.record_bytes
    if transcript.size_bytes < end:
        raise TranscriptMissing("It is not in storage yet: it is stored within a minute.", size_bytes=end)
    record = storable(json.loads(b"".join(read_text(transcript, message.record_offset, end))))
    facts = get_backend(message.session.backend).read(record, {})
    fitting = [fact for fact in facts if isinstance(fact, MessageFact) and _fits(fact, message)]
    exact = [fact for fact in fitting if fact.call_id == message.call_id]
    for fact in exact or fitting:
        return fact.text, fact.tool_input
    raise TranscriptMissing("Its record does not tell it any more.")


def _fits(fact: MessageFact, message: Message) -> bool:
    """Say whether a fact of the record may be this message. Its ids may name an attempt, which one record does not."""
    is_call = bool(fact.call_id) == bool(message.call_id)
    return is_call and fact.role == message.role and fact.text.startswith(message.text)
