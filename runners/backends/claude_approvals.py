"""Read what Claude Code asks with `--permission-prompt-tool stdio`.

Seen with 2.1.330: a `control_request` of subtype `can_use_tool`, several at once where tools run beside each other; a
`control_cancel_request` takes one back, as when the run is interrupted. A second answer to the same is passed over. Its
`permission_suggestions` would write into the workspace or loosen the whole run, so of them only patterns are taken.
"""

from collections.abc import Iterable
from typing import Any

from runners.backends.base import ApprovalFact, Fact
from runners.backends.json_lines import Line, State, activity, now
from runners.backends.lines import mapping, moment, objects, storable, telling, words
from runners.states import Activity

#: models.Approval holds so much of an id, a name and a reason.
NAME_LENGTH = 100
REASON_LENGTH = 300


def control_request(record: Line, line: Line, state: State) -> Iterable[Fact]:
    """Return what is asked; control requests of other kinds are none of ours."""
    asked, request_id = mapping(line.get("request")), words(line.get("request_id"))[:NAME_LENGTH]
    if asked.get("subtype") != "can_use_tool" or not request_id:
        state["unknown"] = state.get("unknown", 0) + 1
        return []
    tool = words(asked.get("tool_name"))[:NAME_LENGTH] or "unnamed tool"
    state["asked"] = [*(known for known in state.get("asked", []) if known != request_id), request_id]
    fact = ApprovalFact(
        request_id=request_id,
        tool_name=tool,
        tool_input=storable(mapping(asked.get("input"))),
        reason=" ".join(words(asked.get("decision_reason")).split())[:REASON_LENGTH],
        proposed_pattern=_proposed(tool, asked.get("permission_suggestions")),
        at=moment(record),
    )
    return [fact, *now(record, state, Activity.NEEDS_APPROVAL, note=f"{tool}: {telling(fact.tool_input)}")]


def control_cancel(record: Line, line: Line, state: State) -> Iterable[Fact]:
    """Return that a question was taken back."""
    request_id = words(line.get("request_id"))[:NAME_LENGTH]
    fact = ApprovalFact(request_id=request_id, withdrawn=True, at=moment(record))
    return [fact, *settled(record, state, request_id)]


def settled(record: Line, state: State, request_id: Any) -> Iterable[Fact]:
    """Note that nobody waits for this answer any more; with no other open, the program works again."""
    asked = state.get("asked", [])
    if request_id not in asked:
        return []
    state["asked"] = [known for known in asked if known != request_id]
    if state["asked"] or activity(state) != Activity.NEEDS_APPROVAL:
        return []
    return now(record, state, Activity.WORKING)


def _proposed(tool: str, suggestions: Any) -> str:
    """Return the pattern of the first suggested rule for this very tool."""
    for suggestion in objects(suggestions):
        if suggestion.get("type") == "addRules" and suggestion.get("behavior") == "allow":
            for rule in objects(suggestion.get("rules")):
                if rule.get("toolName") == tool:
                    return words(rule.get("ruleContent"))[:REASON_LENGTH]
    return ""
