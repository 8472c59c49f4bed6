"""`manage.py up`, as `manage.py help` knows it. manage.py itself runs it before Django reads any settings."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from stratavore_site.up import command


class Command(BaseCommand):
    help = "Start Stratavore with everything it needs: servers, web, workers, beat and node agent. Run it by manage.py."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        command.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        raise CommandError("Run `python manage.py up`: it chooses the servers before Django reads its settings.")
