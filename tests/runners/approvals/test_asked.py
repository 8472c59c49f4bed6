"""A question is taken in once, answered by a rule if one fits, and withdrawn with its runner."""

from datetime import timedelta
from typing import Any

import pytest

from outbox.models import Entry
from runners.models import Approval, ApprovalRule, ApprovalTerms, Runner, Worktree
from runners.services.approvals.policy import proposed_rule
from runners.services.ingest import ingest
from runners.services.telemetry import Batch
from runners.sql import database_now
from tests.runners.approvals.asking import ask, asking_runner
from tests.runners.factories import make_project
from tests.runners.teller import hand_over, report, starting
from tests.runners.teller import teller as teller

pytestmark = pytest.mark.django_db
EXIT = {"t": 9.0, "kind": "exit", "code": 0, "signal": None, "reason": "exited"}


def events(kind: str = "approval") -> list[str]:
    return list(Entry.objects.filter(type__startswith=f"{kind}.").order_by("pk").values_list("type", flat=True))


def answers() -> list[Any]:
    return [entry.data["args"] for entry in Entry.objects.filter(type="runners.tasks.answer_approval")]


def rule(**fields: Any) -> ApprovalRule:
    defaults = {"position": 1, "effect": "allow", "tool": "Bash", "created_by": "tests"}
    return ApprovalRule.objects.create(**{**defaults, **fields})


def test_a_question_waits_with_what_it_wants_and_for_how_long() -> None:
    runner = asking_runner()
    approval = ask(runner, command="git push\n--force")
    assert (approval.state, approval.wants, approval.generation) == ("waiting", "Bash: git push --force", 1)
    assert approval.session_id == runner.session_id
    assert timedelta(minutes=59) < approval.expires_at - database_now() <= timedelta(hours=1)
    asked = Entry.objects.get(type="approval.requested").data
    assert asked["reason"] == "wants Bash: git push --force"
    assert asked["approval_id"] == str(approval.pk)
    assert answers() == []


def test_a_project_says_how_long_its_questions_wait() -> None:
    project = make_project()
    ApprovalTerms.objects.create(project=project, expires_seconds=60)
    approval = ask(asking_runner(project=project))
    assert approval.expires_at - database_now() <= timedelta(minutes=1)


def test_the_same_telemetry_again_is_the_same_question() -> None:
    runner = asking_runner()
    record = report(ask="q1", tool="Bash", input={"command": "ls"})
    batch = Batch(runner.pk, 1, 10, 20, [record])
    assert (ingest(batch), ingest(batch)) == (20, 20)
    hand_over(runner, record, start=20)  # and a program that asks the same twice asks once
    assert Approval.objects.count() == 1
    assert events() == ["approval.requested"]


def test_what_the_program_takes_back_waits_no_more() -> None:
    runner = asking_runner()
    ask(runner)
    hand_over(runner, report(take_back="q1"), report(take_back="never asked"), start=20)
    assert Approval.objects.get().state == "withdrawn"
    assert events() == ["approval.requested", "approval.withdrawn"]


def test_an_end_withdraws_what_still_waits_in_the_same_transaction() -> None:
    runner = asking_runner()
    hand_over(runner, report(ask="q1", tool="Bash", input={}), EXIT, start=10)
    approval = Approval.objects.get()
    assert (approval.state, approval.message) == ("withdrawn", "Its runner has ended.")
    assert Runner.objects.get().status == "terminated"
    assert answers() == []


def test_a_runner_that_was_not_to_ask_has_no_questions() -> None:
    runner = starting()
    hand_over(runner, report(ask="q1", tool="Bash", input={}))
    assert not Approval.objects.exists()


def test_a_rule_answers_at_once_and_is_on_record() -> None:
    allows = rule(pattern="git *")
    approval = ask(asking_runner())
    assert (approval.state, approval.decided_by, approval.rule, approval.rule_text) == (
        "allowed",
        "system:rule",
        allows,
        "allow Bash(git *)",
    )
    assert answers() == [[str(approval.pk)]]
    # Nobody is called for what is settled already.
    assert events() == ["approval.decided"]
    allows.delete()
    approval.refresh_from_db()
    assert (approval.rule, approval.rule_text) == (None, "allow Bash(git *)")


def test_a_denial_by_rule_tells_the_program_why() -> None:
    rule(effect="deny", pattern="git push*", message="Pushing is for people.")
    assert ask(asking_runner()).message == "Pushing is for people."


def test_rules_of_other_scopes_do_not_answer() -> None:
    runner = asking_runner(agent_name="ada", personality_name="senior")
    for number, (scope, key) in enumerate(
        [("project", "elsewhere"), ("agent", "bob"), ("personality", "cadet"), ("session", str(runner.pk))]
    ):
        rule(scope=scope, scope_key=key, position=number)
    rule(active=False)
    assert ask(runner).state == "waiting"


@pytest.mark.parametrize("scope", ["global", "project", "agent", "personality", "session"])
def test_rules_of_its_own_scopes_do(scope: str) -> None:
    runner = asking_runner(agent_name="ada", personality_name="senior")
    keys = {
        "global": "",
        "project": runner.project.name,
        "agent": "ada",
        "personality": "senior",
        "session": str(runner.session_id),
    }
    rule(scope=scope, scope_key=keys[scope])
    assert ask(runner).state == "allowed"


def test_a_file_of_its_worktree_is_one_of_the_checkout_that_rules_are_made_for() -> None:
    runner = asking_runner()
    shop, own = runner.project.path, f"/srv/worktrees/{runner.pk.hex}"
    assert runner.node is not None
    Worktree.objects.create(runner=runner, node=runner.node, repository=shop, path=own, branch="b", base="c")
    rule(tool="Edit", pattern=f"{shop}/docs/*", scope="project", scope_key=runner.project.name)
    rule(tool="Edit", pattern=f"{shop}/.env", effect="deny", position=0)
    paths = (f"{own}/docs/a.md", f"{own}/.env", f"{own}/docs/../.env", f"{own}x/docs/a.md")
    states = [
        ask(runner, f"q{number}", start=10 * number, tool="Edit", file_path=path).state
        for number, path in enumerate(paths, 1)
    ]
    assert states == ["allowed", "denied", "denied", "waiting"]
    asked = ask(runner, "q9", start=50, tool="Edit", file_path=f"{own}/src/till.py")
    assert proposed_rule(asked) == ("Edit", f"{shop}/*")
    assert ask(runner, "q10", start=60, command=f"cat {own}/docs/a.md").state == "waiting"


def test_that_an_answer_was_given_is_known_from_the_shim() -> None:
    rule()
    runner = asking_runner()
    approval = ask(runner)
    assert approval.delivered_at is None
    hand_over(runner, {"t": 3.0, "kind": "given", "once": "q1"}, start=20)
    approval.refresh_from_db()
    assert approval.delivered_at is not None


def test_odd_input_is_kept_as_far_as_a_database_can() -> None:
    approval = ask(asking_runner(), tool="mcp__odd__tool", deep={"a": ["b", {"c": None}]})
    assert approval.wants == "mcp__odd__tool"
    assert approval.tool_input == {"deep": {"a": ["b", {"c": None}]}}
