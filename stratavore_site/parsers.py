"""How a request's body is read. Apart from api.py: DRF's own views load it while they are loaded."""

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework import exceptions, status
from rest_framework.parsers import JSONParser

#: A prompt with a file or two in it fits; Django's own limit does not hold for what DRF reads as a stream.
MAX_BODY_BYTES = 1024 * 1024


class BodyTooLarge(exceptions.APIException):
    """The body is over MAX_BODY_BYTES."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"A request's body may hold {MAX_BODY_BYTES:,} bytes."
    default_code = "too_large"


class LimitedJSONParser(JSONParser):
    """JSON of at most MAX_BODY_BYTES."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        try:
            return json.loads(body, parse_constant=_refuse_constant)
        # Nesting beyond the interpreter's depth is the caller's doing, too.
        except (ValueError, RecursionError) as error:
            raise exceptions.ParseError(f"The body is not JSON: {error}.") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
