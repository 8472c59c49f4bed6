"""Words by which nodes are chosen."""

import re
from collections.abc import Iterable

from runners.exceptions import InvalidRequest

#: gpu, zone=eu-1, arch/arm64. No comma: the settings of a node separate by it.
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=/:-]{0,59}")
MAX_LABELS = 20
#: How long a label may be, and a tag of a project.
MAX_WORD = 60


def check_labels(labels: Iterable[str]) -> None:
    """Raise InvalidRequest unless each is a word that a node may have as a label, and they are not too many."""
    found = list(labels)
    if len(found) > MAX_LABELS:
        raise InvalidRequest(f"At most {MAX_LABELS} labels may be asked for, not {len(found)}.", field="labels")
    for label in found:
        if not isinstance(label, str) or not LABEL.fullmatch(label):
            raise InvalidRequest(
                f"A label is one word of letters, digits and . _ = / : -, not {label!r}.", field="labels"
            )
