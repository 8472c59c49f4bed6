"""What a program asks reaches people where they are: by a notification, and a webhook, with what it wants."""

import json
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from outbox.models import NotificationTarget
from outbox.services.collect import collect_due
from outbox.services.relay import relay_all
from outbox.services.send import send_due
from outbox.services.targets import save_target
from outbox.services.tell import tell_due
from outbox.services.webhooks import create_webhook
from runners.models import ApprovalRule
from runners.services.approvals import Decision, decide_approval
from tests.outbox.receiver import Receiver, receiving
from tests.runners.approvals.asking import ask, asking_runner
from tests.runners.teller import teller as teller

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def reachable(settings: Settings) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    settings.WEBHOOK_ALLOW_HTTP = True
    settings.OUTBOX_BATCH_HANDLERS = ["outbox.services.notify.note_events", "outbox.services.fan_out.fan_out"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def deliver() -> None:
    relay_all()
    collect_due()
    tell_due()
    send_due()


def test_a_notification_says_who_wants_what(receiver: Receiver) -> None:
    rules = [{"event_types": ["approval.requested"], "severity": "warning"}]
    url = f"json://127.0.0.1:{receiver.port}/hook"
    save_target(NotificationTarget(), actor="user:ada", name="ops", url=url, rules=rules, settle_seconds=0)
    runner = asking_runner(name="oak")
    ask(runner, command="git push origin main")
    deliver()
    [message] = [json.loads(request.body) for request in receiver.requests]
    wanted = f"oak in {runner.project.name}: wants Bash: git push origin main"
    assert message["title"] == f"approval.requested: {wanted}"
    assert message["type"] == "warning"


def test_what_a_rule_answers_notifies_nobody(receiver: Receiver) -> None:
    rules = [{"event_types": ["approval.requested"], "severity": "info"}]
    url = f"json://127.0.0.1:{receiver.port}/hook"
    save_target(NotificationTarget(), actor="user:ada", name="ops", url=url, rules=rules, settle_seconds=0)
    ApprovalRule.objects.create(position=1, effect="allow", tool="Bash", pattern="ls *", created_by="tests")
    ask(asking_runner(), command="ls -l")
    deliver()
    assert receiver.requests == []


def test_a_webhook_is_told_of_the_question_and_of_its_answer(receiver: Receiver) -> None:
    _, secret = create_webhook(url=receiver.url, event_types=("approval.*",), actor="user:ada")
    runner = asking_runner()
    approval = ask(runner, command="git push")
    deliver()
    decide_approval(approval.pk, Decision(allow=False, message="Not on a Friday."), actor="user:bob")
    deliver()
    asked, answered = [request.verified(secret) for request in receiver.requests]
    assert (asked["type"], asked["subject"]) == ("approval.requested", str(approval.pk))
    told = {name: asked["data"][name] for name in ("runner_id", "project", "tool", "wants", "state")}
    assert told == {
        "runner_id": str(runner.pk), "project": runner.project.name, "tool": "Bash", "wants": "Bash: git push",
        "state": "waiting",
    }  # fmt: skip
    assert answered["type"] == "approval.decided"
    assert (answered["data"]["state"], answered["data"]["actor"]) == ("denied", "user:bob")
    assert answered["data"]["reason"] == "Not on a Friday."
