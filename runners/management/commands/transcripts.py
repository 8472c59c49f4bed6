"""`manage.py transcripts`: the recordings that projects do not keep for longer, and, if asked, their removal."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runners.services.transcripts import shelf
from runners.services.transcripts.retention import find_due, remove


class Command(BaseCommand):
    help = "List the recordings that are older than their project's transcript_days; --remove removes them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--remove", action="store_true", help="Remove what is listed.")

    def handle(self, *args: Any, **options: Any) -> None:
        count = size = 0
        for due in find_due():
            count += 1
            size += due.transcript.stored_bytes
            if options["remove"]:
                try:
                    remove(due)
                except shelf.AWAY as error:
                    raise CommandError(f"could not be removed: {due}: {error}") from error
            self.stdout.write(f"{'removed' if options['remove'] else 'would be removed'}: {due}")
        if not count:
            self.stdout.write("Nothing is kept for longer than its project wants.")
            return
        self.stdout.write(f"{count} recordings, {size} bytes.")
        if not options["remove"]:
            self.stdout.write("Nothing was removed: --remove does it. So does the beat, every hour.")
