"""Print the table of event types, for docs/events.md."""

from typing import Any

from django.core.management.base import BaseCommand

from outbox import registry


def table(types: list[registry.EventType]) -> str:
    """Return the event types as a table in Markdown."""
    rows = ["| type | meaning | data |", "| --- | --- | --- |"]
    for each in types:
        fields = ", ".join(f"`{field}` {word}" for field, word in each.data.items())
        rows.append(f"| `{each.name}` | {each.description} | {fields} |")
    return "\n".join(rows)


class Command(BaseCommand):
    help = "Print the table of event types, for docs/events.md."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(table(registry.all_types()))
