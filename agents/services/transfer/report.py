"""What an import tells of itself."""

from collections import Counter
from dataclasses import dataclass, field

from agents.jsonl.lines import Complaints


@dataclass
class ImportReport:
    """What an import did, or would do: how many records of each file were new or updated, and what was amiss."""

    dry_run: bool
    new: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    complaints: Complaints = field(default_factory=Complaints)

    def count(self, name: str, *, new: int, updated: int) -> None:
        self.new[name] += new
        self.updated[name] += updated
