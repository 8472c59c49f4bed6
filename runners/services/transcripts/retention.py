"""Remove recordings that their project does not keep for longer. What was said stays: messages are rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from runners import acts
from runners.models import Project, Transcript, TranscriptPart
from runners.services.transcripts import shelf

log = structlog.get_logger(__name__)

#: Of one run of the task: the next one goes on.
BATCH = 500


@dataclass(frozen=True)
class Due:
    """A transcript that is kept for longer than its project wants."""

    project: Project
    transcript: Transcript

    def __str__(self) -> str:
        kept = self.transcript
        return (
            f"{self.project.name}: {kept.get_kind_display().lower()} of {kept.runner.name}, attempt {kept.generation}, "
            f"complete since {kept.completed_at:%Y-%m-%d}, {kept.stored_bytes} bytes in storage"
        )


def find_due(now: datetime | None = None) -> Iterator[Due]:
    """Yield what is to be removed, and what was half removed when somebody died."""
    now = now or timezone.now()
    left = TranscriptPart.objects.filter(transcript=OuterRef("pk"))
    for project in Project.objects.order_by("name"):
        wanted = Q(Exists(left), removed_at__isnull=False)
        if project.transcript_days is not None:
            wanted |= Q(removed_at__isnull=True, completed_at__lt=now - timedelta(days=project.transcript_days))
        for transcript in Transcript.objects.filter(wanted, runner__project=project).select_related("runner"):
            yield Due(project, transcript)


def remove(due: Due) -> None:
    """Remove the text of one transcript; its row stays, and says since when it is gone. Raises shelf.AWAY."""
    transcript = due.transcript
    # First: who reads it from now on is told that it was removed, not that it is damaged.
    with transaction.atomic():
        if Transcript.objects.filter(pk=transcript.pk, removed_at__isnull=True).update(removed_at=timezone.now()):
            acts.on_transcript_removed(transcript, days=due.project.transcript_days)
    for name in shelf.names(shelf.folder(transcript.runner_id, transcript.generation, transcript.kind)):
        shelf.remove(name)
    TranscriptPart.objects.filter(transcript=transcript).delete()
    log.info("transcript_removed", transcript=str(transcript), project=due.project.name)


def remove_due() -> int:
    """Remove what is due, some of it at least; return how many transcripts that were."""
    count = 0
    for due in find_due():
        if count == BATCH:
            break
        try:
            remove(due)
        except shelf.AWAY as error:
            # They stay due.
            log.warning("transcripts_not_removed", error=str(error)[:200])
            break
        count += 1
    return count
