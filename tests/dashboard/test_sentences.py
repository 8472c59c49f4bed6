"""Every event is told in words: nobody reads "5 time started"."""

from typing import Any

import pytest

from dashboard.rows import event_row
from dashboard.sentences import sentence
from outbox.models import Entry
from outbox.registry import EventType, all_types

EXAMPLES: dict[str, Any] = {
    "integer": 7,
    "number": 7.5,
    "boolean": True,
    "list": ["x"],
    "strings": ["x"],
    "object": {"x": 1},
}


@pytest.mark.parametrize("event_type", all_types(), ids=lambda each: each.name)
def test_every_type_has_a_sentence_also_where_all_that_may_lack_does(event_type: EventType) -> None:
    data = {name: None if word.endswith("?") else EXAMPLES.get(word, "x") for name, word in event_type.data.items()}
    told = sentence(event_type.name, data)
    assert told != event_type.name.replace(".", " ").replace("_", " ")
    assert told
    assert "None" not in told


@pytest.mark.parametrize(
    ("event_type", "data", "told"),
    [
        (
            "time.started",
            {"worker": "ada", "job_id": "job-2026-01-02-003"},
            "ada started the clock of job-2026-01-02-003",
        ),
        ("time.entered", {"worker": "ada", "job_id": None}, "ada entered hours"),
        ("todo.in_progress", {"agent": "cadet-a", "title": "Greet"}, "cadet-a is at: Greet"),
        ("job.in_progress", {"title": "Greet", "worker": "cadet-a"}, "Greet is being worked on by cadet-a"),
        ("dispatch.changed", {"project": "shop", "enabled": True}, "shop gives out its jobs by itself"),
        ("node.draining", {"node": "atlas"}, "atlas takes no new runners"),
        ("project.changed", {"project": "shop", "changed": ["max_runners"]}, "shop has new max runners"),
        ("limit.cleared", {"label": "Anthropic on atlas"}, "Anthropic on atlas may be used again"),
        ("system.alert", {"title": "The disk is full", "detail": "on atlas"}, "The disk is full on atlas"),
        (
            "workforce.imported",
            {"new": {"jobs": 2, "agents": 1}, "updated": {"jobs": 4}, "complaints": 1},
            "workforce was imported: 3 new, 4 updated, 1 of its lines not understood",
        ),
    ],
)
def test_the_subject_and_the_sentence_read_as_one(event_type: str, data: dict[str, Any], told: str) -> None:
    row = event_row(Entry(type=event_type, data=data, subject="workforce", sequence=1))
    assert f"{row['who']} {row['text']}" == told
