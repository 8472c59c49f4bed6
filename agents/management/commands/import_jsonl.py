from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from agents.exceptions import AgentError
from agents.jsonl.lines import FILES, in_directory
from agents.services.transfer import import_files


class Command(BaseCommand):
    help = "Take in agents, personalities, jobs, todos and hours from the original's files below a directory."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path)
        parser.add_argument("--zone", default=settings.TIME_ZONE, help="of times without one (default: %(default)s)")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def handle(self, *args: Any, directory: Path, zone: str, dry_run: bool, **options: Any) -> None:
        if not directory.is_dir():
            raise CommandError(f"There is no directory {directory}.")
        try:
            report = import_files(
                in_directory(directory), zone=zone_named(zone), actor="system:import", dry_run=dry_run
            )
        except AgentError as refusal:
            raise CommandError(refusal.message) from None
        for complaint in report.complaints.first:
            self.stderr.write(str(complaint))
        if report.complaints.count > len(report.complaints.first):
            self.stderr.write(f"... and {report.complaints.count - len(report.complaints.first)} more")
        for name in FILES:
            self.stdout.write(f"{name}: {report.new[name]} new, {report.updated[name]} updated")
        self.stdout.write(f"{report.complaints.count} complaints" + (", nothing was written" if dry_run else ""))


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone by its name. Raises CommandError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise CommandError(f"There is no time zone {name!r}: write it as Europe/Berlin.") from None
