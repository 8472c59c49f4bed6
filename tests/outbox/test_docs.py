from pathlib import Path

from outbox import registry
from outbox.management.commands.eventtypes import table

DOCS = Path(__file__).resolve().parents[2] / "docs" / "events.md"


def test_the_docs_list_every_event_type() -> None:
    """If this fails: `manage.py eventtypes` prints the table that docs/events.md should hold."""
    types = [each for each in registry.all_types() if not each.name.startswith("test.")]
    assert table(types) in DOCS.read_text()
