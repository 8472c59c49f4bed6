"""Turn a program's usage into entries that add up, whether it tells steps, running totals, or both.

A program may show the tokens of each answer while it works and tell, at the end, a total over the whole conversation.
Answers are entered as they are seen, so that a run that is killed keeps them; the total then enters the difference.

Everything remembered is in `state["totals"]`, which belongs to the conversation and is handed to its next run: for each
model the total last told, and for each run since then what was entered of it (`unsettled`). A run that was killed may
be in the next total or not, for it may have had the time to save its count or not: see `_included`.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from runners.backends.lines import COST_STEP

#: Input, output, cache read, cache write.
Tokens = tuple[int, int, int, int]
ByModel = Mapping[str, Sequence[int]]
NONE: Tokens = (0, 0, 0, 0)
#: An answer is shown in several lines; only the latest answers can still change.
ANSWERS_REMEMBERED = 64
#: In place of a conversation's id: the next one that is told.
OF_WHAT_COMES = None
#: Runs of a conversation in a row that told no total; each doubles the combinations to look at.
RUNS_REMEMBERED = 8


@dataclass(frozen=True)
class Total:
    """What a program says one model used over the whole conversation."""

    tokens: Tokens
    cost_usd: Decimal | None = None


@dataclass(frozen=True)
class Difference:
    """What a total adds to what was entered before. Negative where more was seen than the program counts in the end."""

    model: str
    tokens: Tokens
    cost_usd: Decimal | None
    #: With this entry every one before it has its cost.
    settles: bool
    #: The runs of whose entries the cost is: those of its model, of the last difference all that are left.
    covers: tuple[str, ...] = ()
    last: bool = False


def begin(state: dict[str, Any], conversation: str) -> None:
    """Go on with the totals of `conversation`, or start new ones if they are of another."""
    totals = state.get("totals")
    if totals and totals["conversation"] is OF_WHAT_COMES:
        totals["conversation"] = conversation
    if totals and totals["conversation"] == conversation:
        return
    lost = bool(totals and (totals["lost"] or totals["unsettled"]))
    state["totals"] = {"conversation": conversation, "cost": None, "lost": lost, "models": {}, "unsettled": []}


def handed_on(totals: Mapping[str, Any]) -> dict[str, Any]:
    """Return the totals with which a copy of their conversation begins, under an id that is not known yet."""
    return {**totals, "conversation": OF_WHAT_COMES}


def answer_used(state: dict[str, Any], answer: str, model: str, tokens: Tokens) -> tuple[Tokens, Tokens] | None:
    """Note the tokens of an answer as seen so far; return what is new and what it is now, or None if nothing is new.

    Counts only grow: a program shows an answer's usage before it is final.
    """
    # Pairs, not an object: PostgreSQL does not keep the order of an object's keys.
    answers = dict(state.get("answers", []))
    before = answers.get(answer, NONE)
    after = _each(max, before, tokens)
    gained = _minus(after, before)
    if not any(gained):
        return None
    answers[answer] = after
    state["answers"] = [*answers.items()][-ANSWERS_REMEMBERED:]
    run = _this_run(state)
    run[model] = _plus(run.get(model, NONE), gained)
    return gained, after


def settle(state: dict[str, Any], told: Mapping[str, Total], cost_usd: Decimal | None) -> list[Difference]:
    """Take in the totals of all models and their whole cost; return what they add.

    Where there is a cost that is at least one entry, so that it settles what came before it.
    """
    totals = state["totals"]
    seen = _this_run(state)
    *before, (this, _) = totals["unsettled"]
    earlier = [run for _, run in before]
    gained = {model: _gained(totals, model, told) for model in dict.fromkeys([*told, *seen])}
    rest = {model: _minus(tokens, seen.get(model, NONE)) for model, tokens in gained.items()}
    included = _included(earlier, rest)
    totals["lost"] = totals["lost"] or len(included) < len(earlier)
    for run in included:
        rest = {model: _minus(tokens, run.get(model, NONE)) for model, tokens in rest.items()}
    costs = {
        model: _cost_gain(totals["models"].get(model, {}).get("cost"), total.cost_usd) for model, total in told.items()
    }
    whole = _cost_gain(totals["cost"], cost_usd)
    holds = (this, *(attempt for attempt, run in before if any(run is other for other in included)))
    covers = tuple(dict.fromkeys([*totals.get("unpriced", ()), *holds]))
    # A total without a cost: the next one that has one is of these runs too.
    totals["unpriced"] = [] if whole is not None else list(covers)[-RUNS_REMEMBERED:]
    _remember(totals, told, cost_usd)
    changed = [model for model in rest if any(rest[model]) or costs.get(model)]
    differences = _differences(
        {model: (rest[model], costs.get(model)) for model in changed}, whole, settles=not totals["lost"]
    )
    return [replace(each, covers=covers, last=whole is not None and each is differences[-1]) for each in differences]


def _this_run(state: dict[str, Any]) -> dict[str, Any]:
    """Return what this run entered since the last total, by model."""
    totals, attempt = state["totals"], state.get("attempt", "")
    unsettled = totals["unsettled"]
    if not unsettled or unsettled[-1][0] != attempt:
        unsettled.append([attempt, {}])
        totals["lost"] = totals["lost"] or len(unsettled) > RUNS_REMEMBERED
        del unsettled[:-RUNS_REMEMBERED]
    run: dict[str, Any] = unsettled[-1][1]
    return run


def _gained(totals: Mapping[str, Any], model: str, told: Mapping[str, Total]) -> Tokens:
    settled = totals["models"].get(model, {}).get("tokens", NONE)
    if model not in told:
        return NONE
    gained = _minus(told[model].tokens, settled)
    # Less than it told before: it has begun its own count anew.
    return told[model].tokens if min(gained) < 0 else gained


def _included(runs: Sequence[ByModel], room: Mapping[str, Tokens]) -> Sequence[ByModel]:
    """Return the earlier runs that a total holds: as many tokens of them as there is room for beside this run's own."""
    every = itertools.chain.from_iterable(itertools.combinations(runs, size) for size in range(len(runs), -1, -1))
    return max((some for some in every if _fits(some, room)), key=_size, default=())


def _fits(runs: Iterable[ByModel], room: Mapping[str, Tokens]) -> bool:
    needed: dict[str, Tokens] = {}
    for model, tokens in itertools.chain.from_iterable(run.items() for run in runs):
        needed[model] = _plus(needed.get(model, NONE), tokens)
    return all(min(_minus(room.get(model, NONE), tokens)) >= 0 for model, tokens in needed.items())


def _size(runs: Iterable[ByModel]) -> int:
    return sum(sum(tokens) for run in runs for tokens in run.values())


def _remember(totals: dict[str, Any], told: Mapping[str, Total], cost_usd: Decimal | None) -> None:
    totals["unsettled"] = []
    for model, total in told.items():
        cost = None if total.cost_usd is None else str(total.cost_usd)
        totals["models"][model] = {"tokens": total.tokens, "cost": cost}
    if cost_usd is not None:
        totals["cost"] = str(cost_usd)


def _cost_gain(before: str | None, told: Decimal | None) -> Decimal | None:
    if told is None:
        return None
    gained = told - Decimal(before or 0)
    return (told if gained < 0 else gained).quantize(COST_STEP)


def _differences(
    gains: Mapping[str, tuple[Tokens, Decimal | None]], whole: Decimal | None, *, settles: bool
) -> list[Difference]:
    differences = [Difference(model, tokens, cost, False) for model, (tokens, cost) in gains.items()]
    if whole is None:
        return differences
    last = differences.pop() if differences else Difference("", NONE, None, False)
    # The models' costs are rounded each for itself: the last takes what is left of the whole.
    rest = whole - sum((difference.cost_usd or Decimal(0) for difference in differences), Decimal(0))
    return [*differences, Difference(last.model, last.tokens, rest, settles)]


def _plus(left: Sequence[int], right: Sequence[int]) -> Tokens:
    return _each(lambda a, b: a + b, left, right)


def _minus(left: Sequence[int], right: Sequence[int]) -> Tokens:
    return _each(lambda a, b: a - b, left, right)


def _each(operation: Callable[[int, int], int], left: Sequence[int], right: Sequence[int]) -> Tokens:
    first, second, third, fourth = (operation(a, b) for a, b in zip(left, right, strict=True))
    return first, second, third, fourth
