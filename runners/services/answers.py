"""What a model's answer used, for the messages that it was made of."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import F, Func, Sum, TextField, Value

from runners.backends import get_backend
from runners.models import Message, UsageEntry
from runners.models.usage import TOKEN_COLUMNS


def tokens_of_messages(session_id: UUID, backend: str, messages: Iterable[Message]) -> dict[int, dict[str, int]]:
    """Return, by message id, the tokens of the answer to which a message belongs: the same for all of one answer.

    Only where the program tells which tokens are of which answer. One question for all messages.
    """
    answer_of = get_backend(backend).answer_of
    answers = {message.pk: answer for message in messages if (answer := answer_of(message.key))}
    if not answers:
        return {}
    # The keys of such entries are usage:<answer>:<tokens so far>.
    part = Func(F("key"), Value(":"), Value(2), function="split_part", output_field=TextField())
    entries = UsageEntry.objects.filter(session_id=session_id, key__startswith="usage:").annotate(answer=part)
    sums = entries.filter(answer__in=set(answers.values())).order_by().values_list("answer")
    rows = sums.annotate(*(Sum(column) for column in TOKEN_COLUMNS))
    found = {row[0]: dict(zip(TOKEN_COLUMNS, row[1:], strict=True)) for row in rows}
    return {pk: found[answer] for pk, answer in answers.items() if answer in found}
