"""Pieces of messages, as search finds them."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import models
from django.db.models import F, Func, Value

from runners.models.session import Message

#: Between words, to search: PostgreSQL's parser would take a path, an address or a tag for one word, or for none.
#: The last two mark what was found, and may not come from the text itself.
SEPARATORS = "/\\._<>=:@&#\ue000\ue001"
#: Stems words: "failing" finds "failed". Written into the generated column.
LANGUAGE = "english"


def spaced(text: F) -> Func:
    """Return the text with its separators as spaces, each character in its place."""
    return Func(
        text,
        Value(SEPARATORS),
        Value(" " * len(SEPARATORS)),
        function="translate",
        output_field=models.TextField(),
    )


class MessageChunk(models.Model):
    """Some 200 words of a message: the unit that search finds and ranks. Written with the message, never changed."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="chunks")
    position = models.PositiveIntegerField(help_text="Of the chunk in its message, from 0.")
    text = models.TextField()
    words = models.GeneratedField(
        expression=SearchVector(spaced(F("text")), config=LANGUAGE), output_field=SearchVectorField(), db_persist=True
    )

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(name="message_chunk_once", fields=["message", "position"])]
        indexes = [GinIndex(name="message_chunk_words", fields=["words"])]

    def __str__(self) -> str:
        return self.text[:60]
