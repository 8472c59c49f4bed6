"""Check a record before it is saved."""

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models

from agents.exceptions import AgentError


def check(record: models.Model, refusal: type[AgentError]) -> None:
    """Raise `refusal` with the first field that is not valid, and why."""
    try:
        # Constraints are the database's to hold, and are turned into refusals where they can be met.
        record.full_clean(validate_constraints=False)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise refusal(" ".join(messages), field="" if field == NON_FIELD_ERRORS else field) from None
