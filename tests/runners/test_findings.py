"""What the reconciler found and did is kept, and shown."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from runners.models import ReconcilerFinding, ReconcilerRound
from runners.services.findings import note_attempt
from runners.services.reconcile import RULES, reconcile, reconcile_node
from runners.services.reconciler_rules import OF_NODES, rules
from runners.states import NodeStatus, RunnerStatus
from tests.callers import make_user, operator, reader
from tests.runners.factories import make_node, make_runner

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(minutes=5)
S = RunnerStatus
RECONCILER = "/api/v1/reconciler/"


def told() -> list[tuple[str, str, str, str]]:
    return sorted(ReconcilerFinding.objects.values_list("rule", "name", "found", "done"))


def test_each_act_of_a_rule_is_kept_and_a_fleet_in_order_leaves_no_trace() -> None:
    node = make_node(name="n1")
    since = timezone.now() - LONG_AGO
    make_runner(name="late", node=node, status=S.STARTING, status_changed_at=since)
    make_runner(name="stuck", node=node, status=S.STOPPING, status_changed_at=since)
    make_node(name="gone", last_seen_at=since)
    reconcile()
    assert told() == [
        (
            "silent_nodes",
            "gone",
            f"silent since {since:%Y-%m-%d %H:%M:%S}",
            "it is offline, and its runners are unknown",
        ),
        ("unstarted_runners", "late", f"starting since {since:%H:%M:%S}", "sent to n1 again"),
        ("unstopped_runners", "stuck", f"stopping since {since:%H:%M:%S}", "sent to n1 again"),
    ]
    reconcile()
    assert ReconcilerFinding.objects.count() == 3
    assert ReconcilerRound.objects.get().place == "control plane"


def test_what_a_node_found_is_kept_with_its_name_and_the_same_again_is_not() -> None:
    node = make_node(name="n1", status=NodeStatus.ONLINE)
    lost, back = make_runner(name="lost", node=node), make_runner(name="back", node=node, status=S.UNKNOWN)
    reconcile_node("n1", {(back.pk, 1): False}, {(back.pk, 1)})
    for _ in range(2):
        note_attempt(lost.pk, 1, rule="superseded_attempts", node="n1")
    assert told() == [
        ("lost_runners", "lost", "its node has no such process", "failed"),
        ("runners_found_again", "back", "its node has it alive", "it is running"),
        ("superseded_attempts", "lost, attempt 1", "alive, and not wanted any more", "stopped"),
    ]
    assert set(ReconcilerFinding.objects.values_list("place", flat=True)) == {"n1"}


def test_findings_are_deleted_after_their_time() -> None:
    ReconcilerFinding.objects.create(
        rule="silent_nodes", place="x", name="n", found="f", done="d", at=timezone.now() - timedelta(days=31)
    )
    reconcile()
    assert not ReconcilerFinding.objects.exists()


def test_every_rule_has_a_sentence() -> None:
    assert [rule.name for rule in rules()] == [rule.__name__ for rule in RULES] + list(OF_NODES)
    assert all(rule.sentence.endswith(".") for rule in rules())


def test_the_api_shows_rules_and_findings_and_runs_the_rules() -> None:
    make_runner(name="late", status=S.STARTING, status_changed_at=timezone.now() - LONG_AGO)
    assert reader().post(f"{RECONCILER}run/").status_code == 403
    client = operator()
    answer = client.post(f"{RECONCILER}run/")
    assert answer.status_code == 200, answer.content
    assert answer.json()["acted"]["unstarted_runners"] == 1
    shown = client.get(RECONCILER).json()
    assert [place["place"] for place in shown["rounds"]] == ["control plane"]
    rule = next(rule for rule in shown["rules"] if rule["name"] == "unstarted_runners")
    assert rule["found_last_day"] == 1
    assert rule["sentence"] == "A starting runner without a process is sent to its node again."
    findings = client.get(f"{RECONCILER}findings/").json()["results"]
    assert [(finding["name"], finding["rule"]) for finding in findings] == [("late", "unstarted_runners")]


def test_the_page_shows_rules_and_findings_and_a_button_for_who_may() -> None:
    make_runner(name="<b>late</b>", status=S.STARTING, status_changed_at=timezone.now() - LONG_AGO)
    client, stranger = Client(), Client()
    client.force_login(make_user("ada", is_superuser=True))
    stranger.force_login(make_user("grace"))
    assert "Nothing was found" in client.get("/reconciler/").content.decode()
    assert "1 times there was something to do" in client.post("/reconciler/run/", follow=True).content.decode()
    page = client.get("/reconciler/?rule=unstarted_runners").content.decode()
    assert "&lt;b&gt;late&lt;/b&gt;" in page
    assert "sent to its node again" in page
    assert "Nothing was found" in client.get("/reconciler/?rule=silent_nodes").content.decode()
    assert "Run the rules now" not in stranger.get("/reconciler/").content.decode()
    assert stranger.post("/reconciler/run/").status_code == 403
