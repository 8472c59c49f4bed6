"""Rules answer what they mean to answer, and nothing that only looks like it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.models import ApprovalRule
from runners.services.approvals.policy import Question, exactly, fits, rule_on


def rules(*lines: str) -> list[ApprovalRule]:
    """Read "allow Bash(git *)"."""
    found = []
    for position, line in enumerate(lines):
        effect, _, rest = line.partition(" ")
        tool, _, pattern = rest.partition("(")
        found.append(ApprovalRule(position=position, effect=effect, tool=tool, pattern=pattern.removesuffix(")")))
    return found


def says(asked: tuple[str, dict[str, Any]], *lines: str) -> str:
    tool, tool_input = asked
    ruling = rule_on(Question.asked(tool, tool_input, workspace="/srv/shop"), rules(*lines))
    return ruling.effect if ruling else "ask"


def bash(command: str) -> tuple[str, dict[str, Any]]:
    return "Bash", {"command": command}


@pytest.mark.parametrize(
    "command",
    [
        "git status",
        "git status --short",
        "git status && git status -b",
        "git status; git status",
        "git status | git status",
    ],
)
def test_a_command_that_fits_in_all_its_parts_is_allowed(command: str) -> None:
    assert says(bash(command), "allow Bash(git status *)") == "allow"


@pytest.mark.parametrize(
    "command",
    [
        "git statusx",
        "git status; rm -rf /",
        "git status && rm -rf /",
        "git status || rm -rf /",
        "git status | sh",
        "git status & rm -rf /",
        "git status\nrm -rf /",
        "git status $(rm -rf /)",
        "git status `rm -rf /`",
        "git status > /etc/passwd",
        "git status < /dev/tcp/evil",
        "git status <(rm -rf /)",
        "git status ${IFS}",
        "git status \\\nrm",
    ],
)
def test_a_command_that_hides_another_is_asked_for(command: str) -> None:
    assert says(bash(command), "allow Bash(git status *)") == "ask"


def test_a_command_with_one_denied_part_is_denied_wherever_it_stands() -> None:
    assert says(bash("git status && rm -rf /"), "allow Bash(git *)", "deny Bash(rm *)") == "deny"
    assert says(bash("rm -rf / ; git status"), "allow Bash(git *)", "deny Bash(rm *)") == "deny"


def test_the_first_rule_that_fits_answers() -> None:
    lines = ("allow Bash(git push origin *)", "deny Bash(git push *)", "allow Bash(git *)")
    assert says(bash("git push origin main"), *lines) == "allow"
    assert says(bash("git push evil main"), *lines) == "deny"
    assert says(bash("git log"), *lines) == "allow"
    assert says(bash("ls"), *lines) == "ask"


def test_all_commands_may_be_allowed_but_not_past_a_denial() -> None:
    assert says(bash("echo $(date) > x"), "allow Bash") == "allow"
    assert says(bash("echo $(rm x)"), "deny Bash(rm *)", "allow Bash") == "ask"
    assert says(bash("echo hello"), "deny Bash(rm *)", "allow Bash") == "allow"


def test_an_exact_rule_allows_that_very_command_whatever_is_in_it() -> None:
    exact = f"allow Bash({exactly('rm *.tmp > log')})"
    assert says(bash("rm *.tmp > log"), exact) == "allow"
    assert says(bash("rm /etc/x.tmp > log"), exact) == "ask"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/srv/shop/docs/a.md", "allow"),
        ("docs/a.md", "allow"),
        ("/srv/shop/docs/../../../etc/passwd", "ask"),
        ("docs/../secret", "ask"),
        ("/srv/shop/docs/./b/../a.md", "allow"),
        ("/srv/shop/docsx/a.md", "ask"),
    ],
)
def test_a_path_is_what_it_leads_to(path: str, answer: str) -> None:
    assert says(("Edit", {"file_path": path, "new_string": "x"}), "allow Edit(/srv/shop/docs/*)") == answer


def test_tools_have_patterns_too_and_other_input_is_held_against_as_json() -> None:
    assert says(("mcp__github__create_issue", {"title": "x"}), "allow mcp__github__*") == "allow"
    assert says(("mcp__gitlab__create_issue", {"title": "x"}), "allow mcp__github__*") == "ask"
    assert says(("Pay", {"amount": 5}), 'allow Pay(*"amount": 5})') == "allow"
    assert (
        says(("WebFetch", {"url": "https://docs.python.org.evil.org/"}), "allow WebFetch(https://docs.python.org/*)")
        == "ask"
    )
    assert says(("Odd", {}), "allow Odd") == "allow"


@given(st.text(max_size=30))
def test_a_text_made_exact_fits_itself_alone(text: str) -> None:
    assert fits(exactly(text), text)
    assert not fits(exactly(text), text + "x")


@given(st.lists(st.text(alphabet="ab", max_size=4), min_size=1, max_size=5), st.text(alphabet="ab", max_size=12))
def test_a_star_stands_for_anything(pieces: list[str], filling: str) -> None:
    assert fits("*".join(pieces), filling.join(pieces))


def test_no_pattern_takes_for_ever() -> None:
    # A matcher that goes back would not end here.
    assert not fits("*a" * 200 + "b", "a" * 100_000)
