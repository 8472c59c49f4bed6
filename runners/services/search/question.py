"""Read what somebody typed: words, "phrases", -exclusions and OR."""

import re
from dataclasses import dataclass

from runners.models.chunk import SEPARATORS

#: Longer ones are refused or cut by those who ask.
QUERY_CHARACTERS = 500

_PIECE = re.compile(r'-?"[^"]*"?|[^\s"]+')
_SPACES = str.maketrans(dict.fromkeys(SEPARATORS + "\x00", " "))
_OR = "or"  # PostgreSQL reads it in any case


@dataclass(frozen=True)
class Question:
    """One query in the forms that are searched with; each of the first three is for websearch_to_tsquery."""

    #: All of it.
    words: str
    #: What must not stand in a passage, whatever it means; empty: nothing.
    excluded: str
    #: The quoted phrases, one of which a passage must have, whatever it means; empty: none must be there.
    phrases: str
    #: There is nothing else than phrases and exclusions: a passage with a phrase has all that `words` asks for.
    only_phrases: bool
    #: What it is about, to be compared by its meaning; empty: it tells only what is left out.
    meaning: str


def read(text: str) -> Question:
    """Read a query. Whatever is typed is one, if perhaps for nothing."""
    # Half a pair of surrogates is no character: neither PostgreSQL nor a model could be given it.
    pieces = _PIECE.findall(text[:QUERY_CHARACTERS].encode("utf-8", "replace").decode())
    excluded = [piece for piece in pieces if _is_excluded(piece)]
    wanted = [piece for piece in pieces if not _is_excluded(piece) and piece.lower() != _OR]
    alternatives = _alternatives(pieces)
    phrases = [[piece for piece in one if piece.startswith('"')] for one in alternatives]
    return Question(
        words=_websearch(pieces),
        excluded=_websearch(excluded),
        # One alternative without a phrase lets every passage in.
        phrases=" OR ".join(map(_websearch, phrases)) if phrases and all(phrases) else "",
        only_phrases=all(piece.startswith('"') for piece in wanted),
        meaning=" ".join(piece.strip('"') for piece in wanted).replace("\x00", " ").strip(),
    )


def _alternatives(pieces: list[str]) -> list[list[str]]:
    """Return what stands between the ORs, exclusions left out; OR binds less than all else."""
    found: list[list[str]] = [[]]
    for piece in pieces:
        if piece.lower() == _OR:
            found.append([])
        elif not _is_excluded(piece):
            found[-1].append(piece)
    return [one for one in found if one]


def _is_excluded(piece: str) -> bool:
    # What begins with two is an option of some program.
    return piece.startswith("-") and piece[1:2] not in ("", "-")


def _websearch(pieces: list[str]) -> str:
    """Return pieces with names written as the phrases that the index holds: app.py is "app py"."""
    return " ".join(map(_one, pieces))


def _one(piece: str) -> str:
    spaced = piece.translate(_SPACES)
    minus = "-" if piece.startswith("-") else ""
    bare = spaced.removeprefix("-")
    # A quote that is not closed would swallow what comes after.
    if bare.startswith('"'):
        return f'{minus}"{bare.strip(chr(34))}"'
    return spaced if spaced == piece else f'{minus}"{bare}"'
