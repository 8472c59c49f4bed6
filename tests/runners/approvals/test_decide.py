"""An answer counts once, whoever gives it and however often; the clock answers in the end."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from outbox.models import AuditEntry, Entry
from runners.exceptions import ApprovalSettled, InvalidRequest
from runners.models import Approval, ApprovalRule, ApprovalTerms
from runners.services.approvals import Decision, decide_approval, expire_approvals, give_answer, send_again
from runners.sql import database_now
from tests.runners.approvals.asking import ask, asking_runner
from tests.runners.teller import hand_over
from tests.runners.teller import teller as teller

ALLOW, DENY = Decision(allow=True), Decision(allow=False, message="Not today.")
EXIT = {"t": 9.0, "kind": "exit", "code": 0, "signal": None, "reason": "exited"}


def answers() -> int:
    return Entry.objects.filter(type="runners.tasks.answer_approval").count()


def race(*acts: Callable[[], object]) -> list[object]:
    """Do all at the same moment, each on a connection of its own; return what came of each."""
    gate = threading.Barrier(len(acts))
    results: list[object] = [None] * len(acts)

    def run(place: int, act: Callable[[], object]) -> None:
        try:
            gate.wait()
            results[place] = act()
        except ApprovalSettled as error:
            results[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.django_db
def test_an_answer_is_written_told_and_sent() -> None:
    approval = decide_approval(ask(asking_runner()).pk, DENY, actor="user:ada")
    assert (approval.state, approval.decided_by, approval.message) == ("denied", "user:ada", "Not today.")
    assert answers() == 1
    told = Entry.objects.get(type="approval.decided").data
    assert (told["state"], told["actor"], told["rule"]) == ("denied", "user:ada", "")
    act = AuditEntry.objects.get(action="approval.deny")
    assert (act.actor, act.reason) == ("user:ada", "Not today.")


@pytest.mark.django_db
def test_the_same_answer_of_the_same_person_again_is_no_second_one() -> None:
    pk = ask(asking_runner()).pk
    assert decide_approval(pk, ALLOW, actor="user:ada") == decide_approval(pk, ALLOW, actor="user:ada")
    assert answers() == 1
    assert AuditEntry.objects.filter(action="approval.allow").count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(("decision", "actor"), [(ALLOW, "user:bob"), (DENY, "user:ada"), (DENY, "user:bob")])
def test_any_other_answer_is_refused_with_who_was_faster(decision: Decision, actor: str) -> None:
    pk = ask(asking_runner()).pk
    decide_approval(pk, ALLOW, actor="user:ada")
    with pytest.raises(ApprovalSettled, match="It was allowed by user:ada before") as refused:
        decide_approval(pk, decision, actor=actor)
    assert refused.value.facts["decided_by"] == "user:ada"


@pytest.mark.django_db
def test_an_answer_to_a_runner_that_has_ended_is_refused_and_says_so() -> None:
    runner = asking_runner()
    pk = ask(runner).pk
    hand_over(runner, EXIT, start=20)
    with pytest.raises(ApprovalSettled, match=r"It was withdrawn before: Its runner has ended\."):
        decide_approval(pk, ALLOW, actor="user:ada")
    assert answers() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(5))
def test_of_two_people_at_the_same_moment_one_decides(attempt: int) -> None:
    pk = ask(asking_runner()).pk
    results = race(
        lambda: decide_approval(pk, ALLOW, actor="user:ada"), lambda: decide_approval(pk, DENY, actor="user:bob")
    )
    refused = [each for each in results if isinstance(each, ApprovalSettled)]
    approval = Approval.objects.get()
    assert len(refused) == 1
    assert refused[0].facts["decided_by"] == approval.decided_by
    assert answers() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(5))
def test_a_decision_and_the_end_of_the_runner_never_both_count(attempt: int) -> None:
    runner = asking_runner()
    pk = ask(runner).pk
    race(lambda: decide_approval(pk, ALLOW, actor="user:ada"), lambda: hand_over(runner, EXIT, start=20))
    assert (Approval.objects.get().state, answers()) in {("allowed", 1), ("withdrawn", 0)}


@pytest.mark.django_db(transaction=True)
def test_two_clocks_and_a_person_give_one_answer() -> None:
    pk = ask(asking_runner()).pk
    Approval.objects.update(expires_at=database_now())
    race(expire_approvals, expire_approvals, lambda: decide_approval(pk, ALLOW, actor="user:ada"))
    assert Approval.objects.get().state in {"expired", "allowed"}
    assert answers() == 1


@pytest.mark.django_db(transaction=True)
def test_whoever_decides_is_not_held_up_by_telemetry() -> None:
    """A decision locks nothing but its question: the runner's row may be held as long as it takes."""
    runner = asking_runner()
    pk = ask(runner).pk
    with transaction.atomic():
        type(runner).objects.select_for_update().get(pk=runner.pk)
        [result] = race(lambda: decide_approval(pk, ALLOW, actor="user:ada"))
    assert isinstance(result, Approval)


@pytest.mark.django_db
def test_what_nobody_answers_is_denied_in_the_words_of_the_project() -> None:
    runner = asking_runner()
    ApprovalTerms.objects.create(project=runner.project, message="Nobody is here at night.")
    ask(runner)
    assert expire_approvals() == 0
    Approval.objects.update(expires_at=database_now() - timedelta(seconds=1))
    assert (expire_approvals(), expire_approvals()) == (1, 0)
    approval = Approval.objects.get()
    assert (approval.state, approval.message, approval.decided_by) == (
        "expired",
        "Nobody is here at night.",
        "system:clock",
    )
    assert Entry.objects.filter(type="approval.expired").count() == answers() == 1


@pytest.mark.django_db
def test_allowed_for_the_session_is_allowed_the_next_time_and_where_it_waits() -> None:
    runner = asking_runner()
    first = ask(runner, "q1", command="npm test")
    ask(runner, "q2", start=20, command="npm test")
    ask(runner, "q3", start=30, command="npm publish")
    decide_approval(first.pk, Decision(allow=True, for_session=True), actor="user:ada")
    assert {each.request_id: each.state for each in Approval.objects.all()} == {
        "q1": "allowed",
        "q2": "allowed",
        "q3": "waiting",
    }
    assert ask(runner, "q4", start=40, command="npm test").state == "allowed"
    made = ApprovalRule.objects.get()
    assert (str(made), made.scope, made.created_by) == ("allow Bash(npm test)", "session", "user:ada")
    # Another session asks for itself.
    assert ask(asking_runner(), command="npm test").state == "waiting"


@pytest.mark.django_db
def test_a_rule_for_everybody_goes_before_what_a_session_was_allowed() -> None:
    runner = asking_runner()
    first = ask(runner, "q1", command="npm test")
    decide_approval(first.pk, Decision(allow=True, for_session=True), actor="user:ada")
    ApprovalRule.objects.create(position=99, effect="deny", tool="Bash", pattern="npm *", created_by="staff")
    assert ask(runner, "q2", start=20, command="npm test").state == "denied"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "decision",
    [
        Decision(allow=False, for_session=True),
        Decision(allow=False, message="x" * 2001),
        Decision(allow=True, for_session=True, pattern="x" * 2001),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused_and_nothing_is_written(decision: Decision) -> None:
    pk = ask(asking_runner()).pk
    with pytest.raises(InvalidRequest):
        decide_approval(pk, decision, actor="user:ada")
    assert (Approval.objects.get().state, answers(), ApprovalRule.objects.count()) == ("waiting", 0, 0)


@pytest.mark.django_db
def test_an_answer_that_did_not_arrive_is_sent_again_until_it_did(settings: Any) -> None:
    runner = asking_runner()
    decide_approval(ask(runner).pk, ALLOW, actor="user:ada")
    assert send_again() == 0  # give it time
    Approval.objects.update(sent_at=database_now() - timedelta(minutes=1))
    assert (send_again(), send_again(), answers()) == (1, 0, 2)
    hand_over(runner, {"t": 3.0, "kind": "given", "once": "q1"}, start=20)
    Approval.objects.update(sent_at=database_now() - timedelta(minutes=1))
    assert send_again() == 0


@pytest.mark.django_db
def test_an_answer_to_an_older_attempt_is_given_to_nobody() -> None:
    runner = asking_runner()
    approval = decide_approval(ask(runner).pk, ALLOW, actor="user:ada")
    type(runner).objects.update(generation=2)
    assert give_answer(approval.pk) is False
