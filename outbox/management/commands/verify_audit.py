"""Verify the audit log; exit code 1 and the first broken row if it is not what was written."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from outbox.services.verify import Checkpoint, Verdict, verify


class Command(BaseCommand):
    help = "Verify the audit log: exit code 1, and the first broken row, if it is not what was written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--checkpoint", default="", help="what audit_checkpoint printed, or a file that holds it: shows truncation"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verdict = verify(checkpoint=_checkpoint(options["checkpoint"]))
        if verdict.broken:
            raise CommandError(f"The audit log is broken: {sentence(verdict)}")
        self.stdout.write(f"The audit log is whole: {sentence(verdict)}")


def sentence(verdict: Verdict) -> str:
    """Return the verdict in words."""
    if verdict.broken is None:
        return f"verified up to position {verdict.head.position}, {verdict.unsealed} not sealed yet."
    where = [
        f"{name} {number}"
        for name, number in (("position", verdict.broken.position), ("entry", verdict.broken.entry_id))
        if number is not None
    ]
    return f"{', '.join(where)}: {verdict.broken.what}. Whole up to position {verdict.head.position}."


def _checkpoint(text: str) -> Checkpoint | None:
    if not text:
        return None
    try:
        return Checkpoint.parse(Path(text).read_text() if ":" not in text else text)
    except (OSError, ValueError) as error:
        raise CommandError(f"--checkpoint: {error}") from None
