"""What became of a batch."""

from dataclasses import dataclass, field

from outbox.envelope import Outgoing


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one entry was not delivered. A `final` one will not get better by waiting."""

    error: str
    final: bool = False


@dataclass(slots=True)
class Outcome:
    """Entries that arrived, and that failed. What is in neither was not tried, or nobody knows: it stays pending."""

    delivered: list[int] = field(default_factory=list)
    failed: dict[int, Failure] = field(default_factory=dict)
    #: Aggregates with an entry that did not go out: nothing later of theirs may.
    held: set[str] = field(default_factory=set)
    #: Why the broker could not be asked, if so. No entry is to blame, so none loses an attempt.
    unavailable: str = ""

    def fail(self, entry: Outgoing, error: str, *, final: bool = False) -> None:
        self.failed[entry.id] = Failure(error, final)
        self.held.add(entry.aggregate)
