"""What there is of recordings, for the pages of runners and sessions."""

from collections.abc import Iterable
from typing import Any

from django.urls import reverse

from runners.models import Runner, Session, Transcript
from runners.services.redaction import RuleCount, redactions_of_runners, redactions_of_sessions
from runners.states import TranscriptKind

LABELS = {TranscriptKind.OUTPUT: "Terminal (asciicast)", TranscriptKind.TELEMETRY: "Telemetry (JSON lines)"}


def recordings_of_runner(runner: Runner) -> dict[str, Any]:
    """Return what the page of a runner shows."""
    found = Transcript.objects.filter(runner=runner, generation=runner.generation)
    counts = redactions_of_runners([runner.pk]).get(runner.pk, [])
    return _context(found, reverse("runner-transcript", args=[runner.pk]), counts)


def recordings_of_session(session: Session) -> dict[str, Any]:
    """Return what the page of a session shows: of all its runners together."""
    found = Transcript.objects.filter(session=session)
    counts = redactions_of_sessions([session.pk]).get(session.pk, [])
    return _context(found, reverse("session-transcript", args=[session.pk]), counts)


def _context(found: Iterable[Transcript], address: str, counts: list[RuleCount]) -> dict[str, Any]:
    by_kind: dict[str, list[Transcript]] = {}
    for transcript in found:
        by_kind.setdefault(transcript.kind, []).append(transcript)
    recordings = [
        {
            "label": LABELS[kind],
            "url": f"{address}?kind={kind}",
            "size_bytes": sum(transcript.size_bytes for transcript in by_kind[kind] if not transcript.removed_at),
            "complete": all(transcript.is_complete for transcript in by_kind[kind]),
            "removed": all(transcript.removed_at for transcript in by_kind[kind]),
        }
        for kind in TranscriptKind
        if kind in by_kind
    ]
    return {"recordings": recordings, "redacted": counts, "redacted_secrets": sum(count.secrets for count in counts)}
