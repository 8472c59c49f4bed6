"""Approvals over the API: list, decide, rules and their tester, by permission."""

from typing import Any

import pytest

from outbox.models import AuditEntry
from runners.models import ApprovalRule
from tests.callers import client_of, make_user, operator, reader
from tests.runners.approvals.asking import ask, asking_runner
from tests.runners.factories import make_project
from tests.runners.teller import teller as teller

pytestmark = pytest.mark.django_db
URL, RULES = "/api/v1/approvals/", "/api/v1/approval-rules/"


def results(answer: Any) -> Any:
    assert answer.status_code == 200, answer.content
    return answer.json()["results"]


def test_everybody_may_look_and_narrow_down(django_assert_max_num_queries: Any) -> None:
    runner = asking_runner(agent_name="ada")
    first = ask(runner, "q1", command="npm test")
    ask(runner, "q2", start=20, tool="Edit", file_path="x")
    ask(asking_runner(), "q3")
    client = reader()
    with django_assert_max_num_queries(6):
        assert len(results(client.get(URL))) == 3
    shown = results(client.get(URL, {"runner": str(runner.pk), "tool": "Bash", "state": "waiting", "agent": "ada"}))
    assert [each["id"] for each in shown] == [str(first.pk)]
    assert shown[0]["session_rule"] == {"tool": "Bash", "pattern": "npm test"}
    assert results(client.get(URL, {"state": "denied"})) == []
    assert client.get(f"{URL}{first.pk}/").json()["wants"] == "Bash: npm test"


def test_only_who_may_decide_decides() -> None:
    address = f"{URL}{ask(asking_runner()).pk}/decide/"
    assert reader().post(address, {"decision": "allow"}, format="json").status_code == 403
    decider = client_of(make_user("decider", "runners.decide_approval"))
    told = decider.post(address, {"decision": "deny", "message": "No."}, format="json")
    assert (told.status_code, told.json()["state"], told.json()["decided_by"]) == (200, "denied", "user:decider")
    assert decider.post(address, {"decision": "deny"}, format="json").status_code == 200
    late = operator().post(address, {"decision": "allow"}, format="json")
    assert (late.status_code, late.json()["decided_by"]) == (409, "user:decider")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"decision": "perhaps"}, 400),
        ({"decision": "allow", "scop": "session"}, 400),
        ({"decision": "deny", "scope": "session"}, 422),
        ({"decision": "deny", "message": "a\0b"}, 400),
    ],
)
def test_what_makes_no_sense_is_refused(body: dict[str, Any], status: int) -> None:
    answer = operator().post(f"{URL}{ask(asking_runner()).pk}/decide/", body, format="json")
    assert answer.status_code == status, answer.content


def test_rules_are_made_ordered_changed_tried_and_deleted_on_record() -> None:
    client, project = operator(), make_project()
    denies = client.post(RULES, {"effect": "deny", "tool": "Bash", "pattern": "rm *"}, format="json").json()
    allows = client.post(
        RULES,
        {"effect": "allow", "tool": "Bash", "scope": "project", "scope_key": project.name},
        format="json",
    ).json()
    assert denies["position"] < allows["position"]
    question = {"tool": "Bash", "input": {"command": "ls && rm x"}, "project": project.name}
    tried = client.post(f"{RULES}test/", question, format="json").json()
    assert (tried["answer"], tried["rule"]["id"], tried["parts"]) == ("deny", denies["id"], ["ls", "rm x"])
    changed = client.patch(f"{RULES}{denies['id']}/", {"active": False}, format="json")
    assert changed.json()["active"] is False
    assert client.post(f"{RULES}test/", question, format="json").json()["answer"] == "allow"
    assert client.post(f"{RULES}test/", {**question, "project": ""}, format="json").json()["answer"] == "ask"
    assert client.delete(f"{RULES}{denies['id']}/").status_code == 204
    acts = AuditEntry.objects.filter(target_type="approval_rule").values_list("action", flat=True)
    assert sorted(acts) == [
        "approval_rule.change",
        "approval_rule.create",
        "approval_rule.create",
        "approval_rule.delete",
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"effect": "allow", "tool": "Bash", "scope": "project", "scope_key": "nowhere"},
        {"effect": "allow", "tool": "Bash", "scope": "agent"},
        {"effect": "allow", "tool": "Bash", "scope": "session", "scope_key": "x"},
    ],
)
def test_a_rule_for_nobody_is_refused(body: dict[str, Any]) -> None:
    answer = operator().post(RULES, body, format="json")
    assert (answer.status_code, answer.json()["field"]) == (422, "scope_key")
    assert not ApprovalRule.objects.exists()


def test_rules_need_their_permissions() -> None:
    decider = client_of(make_user("decider", "runners.decide_approval"))
    assert decider.post(RULES, {"effect": "allow", "tool": "Bash"}, format="json").status_code == 403
    assert decider.post(f"{RULES}test/", {"tool": "Bash"}, format="json").json()["answer"] == "ask"
    assert decider.get(RULES).status_code == 200


def test_a_project_has_terms_of_its_own() -> None:
    client, project = operator(), make_project()
    address = f"/api/v1/approval-terms/{project.name}/"
    assert client.get(address).json()["expires_seconds"] == 3600
    told = client.patch(address, {"expires_seconds": 60, "message": "At night nobody is here."}, format="json")
    assert told.json() == {
        "project": project.name,
        "expires_seconds": 60,
        "message": "At night nobody is here.",
    }
    assert client.patch(address, {"expires_seconds": 0}, format="json").status_code == 400
    assert client.patch("/api/v1/approval-terms/nowhere/", {}, format="json").status_code == 404
    assert reader().patch(address, {}, format="json").status_code == 403
    assert [each["project"] for each in results(client.get("/api/v1/approval-terms/"))] == [project.name]
