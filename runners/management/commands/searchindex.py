"""`manage.py searchindex`: make search know the messages that it does not know yet."""

from typing import Any

from django.core.management.base import BaseCommand

from runners.services.search_index import index_the_rest


class Command(BaseCommand):
    help = "Index the messages that search does not know yet; may be interrupted and repeated."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Chunks written: {index_the_rest()}")
