"""Recordings of terminals, for the player."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from dashboard.conversations import number
from dashboard.drawn_cast import drawn_cast
from dashboard.page import live_page
from dashboard.replay import HEADLESS, messages_of, zero_of
from dashboard.replay_pieces import Piece, read_piece
from runners.exceptions import NodeUnreachable, TranscriptError
from runners.models import Attempt
from runners.services.transcripts.shelf import AWAY

#: Of a drawn recording: messages beyond it are in the conversation.
DRAWN_MESSAGES = 5_000


@require_GET
@live_page
def recording(request: HttpRequest, runner_id: UUID, generation: int) -> HttpResponse:
    """Return a piece of an attempt's recording from `offset` on: X-Next and X-End say how to go on.

    A program without a terminal has lines for programs in its recording: what it said is drawn instead.
    """
    attempt = get_object_or_404(
        Attempt.objects.select_related("runner", "node"), runner=runner_id, generation=generation
    )
    if attempt.runner.backend in HEADLESS:
        return _answer(_drawn(attempt))
    try:
        return _answer(read_piece(attempt, number(request.GET.get("offset"))))
    except TranscriptError as error:
        return JsonResponse({"error": error.message}, status=410)
    except NodeUnreachable as error:
        return JsonResponse({"error": error.message}, status=503)
    except AWAY:
        return JsonResponse({"error": "The storage of transcripts does not answer."}, status=503)


def _drawn(attempt: Attempt) -> Piece:
    data = b"".join(drawn_cast(messages_of(attempt)[:DRAWN_MESSAGES], zero_of(attempt)))
    return Piece(data, len(data), True, "messages")


def _answer(piece: Piece) -> HttpResponse:
    response = HttpResponse(piece.data, content_type="application/x-asciicast")
    response.headers["X-Next"] = str(piece.next)
    response.headers["X-End"] = "1" if piece.end else "0"
    response.headers["X-Source"] = piece.source
    response.headers["Cache-Control"] = "private, max-age=3600" if piece.fixed else "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
