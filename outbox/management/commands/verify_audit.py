"""Verify the audit log; exit code 1 and the first broken row if it is not what was written."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from outbox.services.verify import Checkpoint, verify


class Command(BaseCommand):
    help = "Verify the audit log: exit code 1, and the first broken row, if it is not what was written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--checkpoint", default="", help="what audit_checkpoint printed, or a file that holds it: shows truncation"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verdict = verify(checkpoint=_checkpoint(options["checkpoint"]))
        if verdict.broken:
            raise CommandError(f"The audit log is broken: {verdict.sentence()}")
        self.stdout.write(f"The audit log is whole: {verdict.sentence()}")


def _checkpoint(text: str) -> Checkpoint | None:
    if not text:
        return None
    try:
        return Checkpoint.parse(Path(text).read_text() if ":" not in text else text)
    except (OSError, ValueError) as error:
        raise CommandError(f"--checkpoint: {error}") from None
