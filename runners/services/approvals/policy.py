"""What rules say of a question.

A rule names a tool and a pattern of what it wants, in both of which `*` stands for anything: `Bash(git status*)`,
`Edit(/srv/shop/docs/*)`, `mcp__github__*`. Rules are looked at by their position, those of a session last; the first
that fits answers. What no rule answers, people are asked.

A shell command is more than its text, and so is a path: see `parts_of` and `_path`.
"""

import json
import os.path
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.db.models import Case, IntegerField, Q, Value, When

from runners.models import Approval, ApprovalRule, Project, Runner
from runners.states import RuleEffect, RuleScope

#: What may be more than one command, or write where the words do not say: only an exact rule allows it.
OPAQUE = re.compile(r"[`<>(){}\n\r\\]|\$\(|\$\{")
#: Where one command ends and the next begins. Quoted ones count too: then a part fits no rule, and people are asked.
BETWEEN = re.compile(r"&&|\|\||[;&|\n]")
PATHS = ("file_path", "notebook_path")
#: A star that is not escaped.
STAR = re.compile(r"(?<!\\)\*")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a tool wants, as patterns see it."""

    tool: str
    #: The command, path, address, or else the whole input as JSON.
    text: str
    is_shell: bool = False
    workspace: str = ""

    @classmethod
    def of(cls, runner: Runner, tool: str, tool_input: Any) -> "Question":
        """Return what a runner asks. A file of its worktree counts as that of the checkout: rules are for that."""
        asked = cls.asked(tool, tool_input, workspace=runner.workspace)
        worktree = getattr(runner, "worktree", None)
        if worktree is None or not _names_file(tool_input):
            return asked
        own = f"{worktree.path.rstrip('/')}/"
        if not asked.text.startswith(own):
            return asked
        return replace(asked, text=str(Path(worktree.repository) / asked.text.removeprefix(own)))

    @classmethod
    def asked(cls, tool: str, tool_input: Any, *, workspace: str = "") -> "Question":
        values: Mapping[str, Any] = tool_input if isinstance(tool_input, dict) else {}
        command = values.get("command")
        if isinstance(command, str):
            return cls(tool=tool, text=command.strip(), is_shell=True, workspace=workspace)
        if name := _names_file(values):
            return cls(tool=tool, text=_path(values[name], workspace), workspace=workspace)
        if isinstance(values.get("url"), str):
            return cls(tool=tool, text=values["url"], workspace=workspace)
        text = json.dumps(values, sort_keys=True, ensure_ascii=False) if values else ""
        return cls(tool=tool, text=text, workspace=workspace)


@dataclass(frozen=True)
class Ruling:
    """The rule that answers."""

    rule: ApprovalRule

    @property
    def effect(self) -> str:
        return self.rule.effect


def _names_file(tool_input: Any) -> str:
    """Return the name of the argument that is the file a tool works on; empty: it works on none."""
    if not isinstance(tool_input, dict) or isinstance(tool_input.get("command"), str):
        return ""
    return next((name for name in PATHS if isinstance(tool_input.get(name), str)), "")


def _path(path: str, workspace: str) -> str:
    """Return the path that is meant: without steps back that would lead out of where a pattern points."""
    return os.path.normpath(str(Path(workspace) / path)) if path else path


def rules_for(runner: Runner) -> list[ApprovalRule]:
    """Return the rules that may answer a runner's questions, in their order."""
    return rules_of(
        project=runner.project.name,
        agent=runner.agent_name,
        personality=runner.personality_name,
        session=str(runner.session_id or ""),
    )


def rules_of(*, project: str = "", agent: str = "", personality: str = "", session: str = "") -> list[ApprovalRule]:
    """Return the active rules of these scopes, in their order: those of a session after all others."""
    keys = {
        RuleScope.PROJECT: project,
        RuleScope.AGENT: agent,
        RuleScope.PERSONALITY: personality,
        RuleScope.SESSION: session,
    }
    condition = Q(scope=RuleScope.GLOBAL)
    for scope, key in keys.items():
        if key:
            condition |= Q(scope=scope, scope_key=key)
    last = Case(When(scope=RuleScope.SESSION, then=Value(1)), default=Value(0), output_field=IntegerField())
    return list(ApprovalRule.objects.filter(condition, active=True).order_by(last, "position", "pk"))


def rule_on(question: Question, rules: Sequence[ApprovalRule]) -> Ruling | None:
    """Return what the rules say; None: nothing, so people are asked.

    A command made of several is denied if one of them is, and allowed if every one of them is.
    """
    rules = [rule for rule in rules if fits(rule.tool, question.tool)]
    whole = _first(rules, question.text)
    found = [_first(rules, part) for part in parts_of(question.text)] if question.is_shell else []
    denied = next((rule for rule in (whole, *found) if rule is not None and rule.effect == RuleEffect.DENY), None)
    if denied is not None or not question.is_shell:
        ruling = denied or whole
    elif whole is not None and is_exact(whole.pattern):
        ruling = whole
    elif OPAQUE.search(question.text):
        ruling = _of_anything(rules)
    else:
        ruling = found[0] if all(found) else None
    return Ruling(ruling) if ruling is not None else None


def _of_anything(rules: Iterable[ApprovalRule]) -> ApprovalRule | None:
    """Return the rule that allows whatever the command is. None if one before it denies something: it may be in it."""
    for rule in rules:
        if rule.effect == RuleEffect.DENY:
            return None
        if not rule.pattern.strip("*"):
            return rule
    return None


def covers(rule: ApprovalRule, question: Question) -> bool:
    """Say whether this one rule answers a question."""
    return rule_on(question, [rule]) is not None


def _first(rules: Iterable[ApprovalRule], text: str) -> ApprovalRule | None:
    return next((rule for rule in rules if not rule.pattern or fits(rule.pattern, text)), None)


def parts_of(command: str) -> list[str]:
    """Return the single commands that a shell may make of one line."""
    return [part for part in (each.strip() for each in BETWEEN.split(command)) if part] or [command]


def fits(pattern: str, text: str) -> bool:
    r"""Say whether `text` is `pattern`, in which `*` stands for anything and `\*` for a star.

    A blank and `*` at its end may be nothing: `git status *` is `git status` too. It takes time linear in the text
    for each star, where a regular expression may take for ever.
    """
    if pattern.endswith(" *") and fits(pattern[:-2], text):
        return True
    first, *others = (piece.replace("\\*", "*") for piece in STAR.split(pattern))
    if not others:
        return text == first
    if not text.startswith(first):
        return False
    *middle, last = others
    at = len(first)
    for piece in middle:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return len(text) - len(last) >= at and text.endswith(last)


def is_exact(pattern: str) -> bool:
    """Say whether a pattern fits one text alone."""
    return bool(pattern) and not STAR.search(pattern)


def exactly(text: str) -> str:
    """Return the pattern of one text alone."""
    return text.replace("*", "\\*")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the rules would say to a question."""

    answer: str
    rule: ApprovalRule | None
    text: str
    parts: list[str]


def try_rules(
    tool: str,
    tool_input: Any,
    *,
    project: str = "",
    agent: str = "",
    personality: str = "",
    session: object = "",
    workspace: str = "",
) -> Trial:
    """Return what the rules would say if somebody of these names asked."""
    if not workspace and project:
        workspace = Project.objects.filter(name=project).values_list("path", flat=True).first() or ""
    question = Question.asked(tool, tool_input, workspace=workspace)
    rules = rules_of(project=project, agent=agent, personality=personality, session=str(session))
    ruling = rule_on(question, rules)
    parts = parts_of(question.text) if question.is_shell else []
    answer, rule = (ruling.effect, ruling.rule) if ruling else ("ask", None)
    return Trial(answer=answer, rule=rule, text=question.text, parts=parts)


def proposed_rule(approval: Approval) -> tuple[str, str]:
    """Return tool and pattern of a rule for what is like this question.

    Of a command, what the program itself proposes, or the very same; of a file, all in the workspace if it is there; of
    an address, its host; of a tool without any of these, the tool.
    """
    question = Question.of(approval.runner, approval.tool_name, approval.tool_input)
    tool, text = approval.tool_name, question.text
    if question.is_shell:
        own = approval.proposed_pattern.replace(":*", " *")
        return tool, own if own and not OPAQUE.search(text) and fits(own, text) else exactly(text)
    if _names_file(approval.tool_input):
        inside = f"{question.workspace.rstrip('/')}/"
        return tool, f"{exactly(inside)}*" if question.workspace and text.startswith(inside) else exactly(text)
    if isinstance(approval.tool_input.get("url"), str):
        scheme, mark, rest = text.partition("://")
        host = rest.partition("/")[0]
        return tool, f"{exactly(f'{scheme}://{host}')}/*" if mark and host else exactly(text)
    return tool, ""
