from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from agents.management.commands.import_jsonl import zone_named
from agents.services.transfer import export_files


class Command(BaseCommand):
    help = "Write agents, personalities, jobs, todos and hours as the original's files below a directory."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path)
        parser.add_argument("--zone", default=settings.TIME_ZONE, help="of the times (default: %(default)s)")

    def handle(self, *args: Any, directory: Path, zone: str, **options: Any) -> None:
        for name, write in export_files(zone_named(zone)).items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Whole or not at all: an old file stays until the new one is complete.
            whole = path.with_name(path.name + ".part")
            with whole.open("w", encoding="utf-8") as file:
                file.writelines(write())
            whole.replace(path)
            self.stdout.write(str(path))
