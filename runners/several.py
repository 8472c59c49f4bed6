"""What came of a verb that was done to several at once."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key")
Row = TypeVar("Row")


@dataclass
class Several(Generic[Key, Row]):
    """The rows that it was done to, and why not the others: each key that was given is in one of the two."""

    done: dict[Key, Row] = field(default_factory=dict)
    refused: dict[Key, Exception] = field(default_factory=dict)

    def result(self, key: Key) -> Row | Exception:
        """Return the row of a key, or why there is none."""
        return self.done[key] if key in self.done else self.refused[key]

    def only(self) -> Row:
        """Return the row, where one was given; raise its refusal."""
        for refusal in self.refused.values():
            raise refusal
        (row,) = self.done.values()
        return row
