"""The verbs that operations know. Each app registers its own from AppConfig.ready()."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from runners.exceptions import InvalidRequest, RunnerError
from runners.several import Several

#: What a caller narrows the items by: name to value, as JSON has them. {} is all there are.
Filter = Mapping[str, Any]
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Verb:
    """How one thing is done to one item, and which items there are."""

    #: <noun>.<verb>, as in runner.stop.
    name: str
    #: For people: "Stop".
    label: str
    #: What the items are, in the plural: "runners".
    items: str
    #: The Django permission that it needs.
    permission: str
    #: Return the rows that match a filter. Raises InvalidRequest for a filter that makes no sense.
    matching: Callable[[Filter], QuerySet[Any]]
    #: Return why it would be refused for this row with these parameters, in one sentence; "" when it may be done.
    why_not: Callable[..., str]
    #: Do it to one item, given its id, in the caller's transaction. What it raises of `refusals` is told of the item.
    act: Callable[..., object]
    #: Do it to several, given their ids, in the caller's transaction and few statements. Same rules, same traces.
    act_many: Callable[..., Several[Any, Any]] | None = None
    #: Parameters: name to a function that returns the value to use, or raises InvalidRequest.
    parameters: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    #: Those of them that must be given.
    needs: frozenset[str] = frozenset()
    #: The app's errors that are refusals of one item; each has a `message`.
    refusals: tuple[type[Exception], ...] = (RunnerError,)
    #: It cannot be undone: the page asks in red.
    grave: bool = False

    @property
    def noun(self) -> str:
        return self.name.partition(".")[0]

    def read_parameters(self, given: Parameters) -> dict[str, Any]:
        """Return the parameters as `act` takes them. Raises InvalidRequest."""
        unknown = sorted(set(given) - set(self.parameters))
        if unknown:
            known = ", ".join(sorted(self.parameters)) or "none"
            raise InvalidRequest(f"{self.name} has no parameter {unknown[0]}; there is {known}.", field="parameters")
        if missing := sorted(self.needs - set(given)):
            raise InvalidRequest(f"{self.name} wants the parameter {missing[0]}.", field="parameters")
        return {name: self.parameters[name](value) for name, value in given.items()}


_verbs: dict[str, Verb] = {}


def register(*verbs: Verb) -> None:
    """Make verbs known. Registering one again replaces it."""
    _verbs.update({verb.name: verb for verb in verbs})


def verb_named(name: str) -> Verb:
    """Return a verb, or raise InvalidRequest naming those there are."""
    try:
        return _verbs[name]
    except KeyError:
        known = ", ".join(sorted(_verbs))
        raise InvalidRequest(f"There is no operation {name!r}; there are {known}.", field="verb") from None


def all_verbs(noun: str = "") -> Iterable[Verb]:
    """Return the verbs there are, or those of one noun, in the order of their registration."""
    return [verb for verb in _verbs.values() if not noun or verb.noun == noun]
