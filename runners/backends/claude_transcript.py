"""Read the conversation that Claude Code keeps as JSON lines when it runs on a terminal.

Seen with 2.1.330:
- `user` and `assistant` lines are as in the stream (`claude_stream`), but the usage is final, and prompts are there.
- `cost-state` tells totals over the whole conversation, with what earlier runs used. It is written now and then, and
  when the program ends, unless by SIGKILL; it may be older than the last answer.
- Lines of other types are the program's own, and many.
"""

from collections.abc import Iterable
from decimal import Decimal

from runners.backends import claude_stream, running_totals
from runners.backends.base import Fact, MessageFact, UsageFact
from runners.backends.json_lines import Line, State, begin_attempt, now
from runners.backends.lines import digest, json_object, key, mapping, moment, objects, words
from runners.states import Activity, Role

#: Reasons of an answer after which it is the person's turn.
ENDS_TURN = frozenset({"end_turn", "refusal", "stop_sequence"})
#: What a person typed as a command of the program, and its echo.
NOT_SAID = ("<command-", "<local-command-", "<bash-")


def read(record: Line, state: State) -> Iterable[Fact]:
    """Return the facts in one telemetry record."""
    match record.get("kind"):
        case "started":
            begin_attempt(record, state)
        case "stopping":
            state["stopping"] = True
        case "exit":
            return _settled_at_the_end(record, state)
        case "line" if record.get("stream") == "log":
            return _logged(record, state)
    return ()


def _logged(record: Line, state: State) -> Iterable[Fact]:
    line = json_object(str(record.get("text", "")))
    if line is None:
        state["unparsed"] = state.get("unparsed", 0) + 1
        return ()
    line["session_id"] = line.get("sessionId")
    match line.get("type"):
        case "assistant":
            return _assistant(record, line, state)
        case "user":
            return _user(record, line, state)
        case "cost-state":
            state["cost_state"] = record["text"]
    return ()


def _assistant(record: Line, line: Line, state: State) -> list[Fact]:
    facts = list(claude_stream.assistant(record, line, state))
    if any(isinstance(fact, UsageFact) for fact in facts):
        state.pop("cost_state", None)  # it was written before this answer
    reason = mapping(line.get("message")).get("stop_reason")
    if reason in ENDS_TURN and not line.get("isSidechain"):
        facts += now(record, state, Activity.IDLE)
    return facts


def _user(record: Line, line: Line, state: State) -> list[Fact]:
    content = mapping(line.get("message")).get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else objects(content)
    results = {**line, "message": {"content": [block for block in blocks if block.get("type") == "tool_result"]}}
    facts = [*claude_stream.user(record, results, state), *now(record, state, Activity.WORKING)]
    if line.get("isMeta") or line.get("isSidechain"):
        return facts
    said = "\n".join(words(block.get("text")) for block in blocks if block.get("type") == "text")
    if said.strip() and not said.startswith(NOT_SAID) and not _is_the_launch(said, state):
        identity = key("user", words(line.get("uuid")) or digest(str(record.get("text"))))
        facts.append(MessageFact(key=identity, role=Role.USER, text=said, at=moment(record)))
    return facts


def _is_the_launch(said: str, state: State) -> bool:
    """Say whether this is the prompt with which the run was launched: it is in the session already. Once an attempt."""
    if state.get("launched_with") == state.get("attempt") or state.get("prompt") != digest(said.strip()):
        return False
    state["launched_with"] = state.get("attempt")
    return True


def _settled_at_the_end(record: Line, state: State) -> Iterable[Fact]:
    text = state.pop("cost_state", "")
    line = json_object(text, parse_float=Decimal)
    if line is None:
        return ()
    running_totals.begin(state, state.get("conversation", ""))
    return claude_stream.settled(record, state, digest(text), line.get("modelUsage"), line.get("totalCostUSD"))
