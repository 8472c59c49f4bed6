"""`manage.py worktrees`: what is left over of worktrees on this node, and, if asked, its removal."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runners.git import GitFailed
from runners.services.worktrees.leftovers import Leftover, find_leftovers, remove_leftover


class Command(BaseCommand):
    help = "List worktrees and branches of this node that nobody needs any more; --remove removes them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=14, help="Kept ones are left over so long after the end (14).")
        parser.add_argument("--remove", action="store_true", help="Remove what is listed.")
        parser.add_argument("--unsaved", action="store_true", help="Remove also what is kept nowhere else.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["days"] < 0:
            raise CommandError("--days is a number of days from 0.")
        found = list(find_leftovers(timedelta(days=options["days"])))
        failures = [failure for leftover in found if (failure := self._treat(leftover, options))]
        if not found:
            self.stdout.write("Nothing is left over.")
        elif not options["remove"]:
            self.stdout.write("Nothing was removed: --remove does it.")
        if failures:
            raise CommandError("\n".join(failures))

    def _treat(self, leftover: Leftover, options: dict[str, Any]) -> str:
        """Tell of one leftover and remove it if that is asked for; return what went wrong."""
        if leftover.unsaved and not options["unsaved"]:
            self.stdout.write(f"would stay, unless --unsaved: {leftover}")
            return ""
        if not options["remove"]:
            self.stdout.write(f"would be removed: {leftover}")
            return ""
        try:
            remove_leftover(leftover)
        except (GitFailed, OSError) as failure:
            return f"could not be removed: {leftover}: {failure}"
        self.stdout.write(f"removed: {leftover}")
        return ""
