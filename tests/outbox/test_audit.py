"""What the audit log takes in, and what it refuses."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from outbox.authenticity import is_signed
from outbox.exceptions import InvalidEventData, OutsideTransaction
from outbox.models import AuditEntry, AuditSeal
from outbox.origin import Origin, origin
from outbox.services import Act, record_act, record_acts
from outbox.services.audit import CHUNK
from outbox.services.seal import seal_committed
from outbox.states import Source
from tests.conftest import never_emptied
from tests.outbox.tamper import act

TABLES = ["outbox_auditentry", "outbox_auditseal"]


def is_genuine(entry: AuditEntry) -> bool:
    entry.refresh_from_db()
    return is_signed(entry.content, entry.key_id, entry.mac)


@pytest.mark.django_db
def test_an_act_keeps_who_what_whence_and_only_what_changed() -> None:
    with origin(Origin(Source.API, ip="192.0.2.7", request_id="r-1")):
        entry = act(before={"quota": 5, "tags": []}, after={"quota": 9, "tags": []}, reason="more work")
    entry.refresh_from_db()
    assert (entry.actor, entry.action, entry.target_id, entry.reason) == ("user:ada", "runner.stop", "1", "more work")
    assert (entry.source, entry.ip, entry.request_id) == ("api", "192.0.2.7", "r-1")
    assert (entry.before, entry.after) == ({"quota": 5}, {"quota": 9})


@pytest.mark.django_db
def test_secrets_stay_out_and_their_names_in() -> None:
    entry = act(
        before={"environment": {"A": "1"}},
        after={"environment": {"A": "2", "KEY": "k"}, "api_key": "k", "nested": [{"password": "p"}], "max_tokens": 9},
    )
    entry.refresh_from_db()
    assert entry.before == {"environment": {"A": "***"}}
    assert entry.after == {
        "environment": {"A": "***", "KEY": "***"},
        "api_key": "***",
        "nested": [{"password": "***"}],
        "max_tokens": 9,
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value",
    [1e22, 1.0, -0.0, 0.1, 5e-324, 10**30, Decimal("1.50"), "ä\x00\ud800\U0001f600", {"b": 1, "a": [None, True]}],
)
def test_what_was_signed_is_what_is_read_back(value: object) -> None:
    assert is_genuine(act(after={"value": value}, reason="nul \x00"))


@pytest.mark.django_db
def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidEventData):
        act(after={"value": object()})


@pytest.mark.django_db(transaction=True)
def test_an_act_is_refused_outside_a_transaction() -> None:
    with pytest.raises(OutsideTransaction):
        record_act("runner.stop", actor="user:ada", target_type="runner", target_id=1)


@pytest.mark.django_db
def test_many_acts_are_in_the_log_in_their_order_and_genuine() -> None:
    count = CHUNK + 3
    acts = (
        Act("runner.stop", "user:ada", "runner", n, before={"n": n, "api_key": "k"}, after={"n": -1, "t": "\x00ä"})
        for n in range(count)
    )
    with origin(Origin(Source.API, ip="192.0.2.7", request_id="r-1")), transaction.atomic():
        assert record_acts(acts) == count
    entries = list(AuditEntry.objects.order_by("id"))
    assert [entry.target_id for entry in entries] == [str(n) for n in range(count)]
    assert (entries[5].before, entries[5].after) == ({"n": 5, "api_key": "***"}, {"n": -1, "t": "\ufffdä"})
    assert {(entry.source, entry.ip, entry.request_id) for entry in entries} == {("api", "192.0.2.7", "r-1")}
    assert all(map(is_genuine, entries[:20]))
    assert len({entry.transaction_id for entry in entries}) == 1


@pytest.mark.django_db
def test_many_acts_are_one_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with transaction.atomic(), django_assert_num_queries(1):
        record_acts(Act("runner.stop", "user:ada", "runner", n) for n in range(100))
    assert AuditEntry.objects.filter(before__isnull=True, after__isnull=True).count() == 100


@pytest.mark.django_db(transaction=True)
def test_many_acts_are_refused_outside_a_transaction_and_none_are_nothing() -> None:
    with pytest.raises(OutsideTransaction):
        record_acts([Act("runner.stop", "user:ada", "runner", 1)])
    assert record_acts([]) == 0


@pytest.mark.django_db(transaction=True)
def test_an_act_that_was_rolled_back_is_not_in_the_log() -> None:
    with transaction.atomic():
        record_act("runner.stop", actor="user:ada", target_type="runner", target_id=1)
        transaction.set_rollback(True)
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db
def test_an_act_costs_one_statement(django_assert_num_queries: object) -> None:
    with transaction.atomic(), django_assert_num_queries(1):  # type: ignore[operator]
        record_act("runner.stop", actor="user:ada", target_type="runner", target_id=1, after={"a": 1})


@pytest.mark.django_db
def test_the_orm_can_neither_change_nor_delete() -> None:
    entry = act()
    seal_committed()
    seal = AuditSeal.objects.get()
    entry.actor = "user:eve"
    for change in (
        entry.save,
        entry.delete,
        seal.delete,
        lambda: AuditEntry.objects.update(actor="user:eve"),
        lambda: AuditSeal.objects.update(mac=""),
        lambda: AuditEntry.objects.all().delete(),
    ):
        with pytest.raises(IntegrityError, match="The audit log only grows"), transaction.atomic():
            change()


@pytest.mark.django_db
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET mac = ''", "DELETE FROM {}"])
def test_raw_sql_can_neither_change_nor_delete(table: str, statement: str) -> None:
    act()
    seal_committed()
    with (
        pytest.raises(IntegrityError, match="The audit log only grows"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement.format(table))


@pytest.mark.django_db
@pytest.mark.parametrize("model", [AuditEntry, AuditSeal])
def test_the_tables_cannot_be_emptied(model: type[AuditEntry | AuditSeal]) -> None:
    table = model._meta.db_table
    with connection.cursor() as cursor:
        # The tests' own database has it off (tests/conftest.py).
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {never_emptied(model)}")
        with pytest.raises(IntegrityError, match="The audit log only grows"):
            cursor.execute(f"TRUNCATE {table}")
