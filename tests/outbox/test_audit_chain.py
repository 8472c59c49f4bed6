"""The chain of the audit log: sealed after commit, and whoever changes a row is found out."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from pytest_django import Settings

from outbox.models import AuditEntry, AuditSeal
from outbox.services import seal as sealing
from outbox.services.seal import seal_committed
from outbox.services.verify import Broken, Checkpoint, take_checkpoint, verify
from tests.outbox.tamper import act, tamper

pytestmark = pytest.mark.django_db(transaction=True)

COLUMNS = (
    "uid, at, actor, source, ip, request_id, action, target_type, target_id, target_name, before, after, reason, "
    "key_id, mac"
)


@pytest.fixture
def chain() -> list[AuditEntry]:
    """Five sealed acts: entry n at position n + 1."""
    entries = [act(n) for n in range(5)]
    seal_committed()
    return entries


def broken() -> Broken:
    found = verify().broken
    assert found is not None
    return found


def places(found: Broken) -> tuple[int | None, int | None]:
    return found.position, found.entry_id


def test_an_untouched_log_is_whole(chain: list[AuditEntry]) -> None:
    act(5)
    verdict = verify()
    assert (verdict.broken, verdict.head.position, verdict.checked, verdict.unsealed) == (None, 5, 5, 1)


def test_an_empty_log_is_whole() -> None:
    assert verify().broken is None
    assert take_checkpoint() == Checkpoint(0, "")


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'user:eve'",
        "at = at - interval '1 microsecond'",
        "source = 'cli'",
        "ip = '192.0.2.9'",
        "request_id = 'x'",
        "action = 'runner.start'",
        "target_type = 'node'",
        "target_id = '77'",
        "target_name = ''",
        "before = '{}'",
        "after = '{\"a\": 1}'",
        "reason = 'none'",
        "uid = gen_random_uuid()",
        "mac = repeat('0', 64)",
        "key_id = 'another'",
    ],
)
def test_an_altered_entry_is_named(chain: list[AuditEntry], change: str) -> None:
    tamper(f"UPDATE outbox_auditentry SET {change} WHERE id = %s", chain[2].pk)
    assert places(broken()) == (3, chain[2].pk)


@pytest.mark.parametrize(
    "change", ["entry_mac = repeat('0', 64)", "mac = repeat('0', 64)", "sealed_at = now()", "key_id = 'another'"]
)
def test_an_altered_seal_is_named(chain: list[AuditEntry], change: str) -> None:
    tamper(f"UPDATE outbox_auditseal SET {change} WHERE position = 4")
    assert places(broken()) == (4, chain[3].pk)


def test_of_several_broken_rows_the_first_is_named(chain: list[AuditEntry]) -> None:
    tamper("UPDATE outbox_auditentry SET actor = 'user:eve' WHERE id = ANY(%s)", [chain[4].pk, chain[1].pk])
    assert places(broken()) == (2, chain[1].pk)
    assert verify().head.position == 1


def test_a_deleted_entry_is_named(chain: list[AuditEntry]) -> None:
    tamper("DELETE FROM outbox_auditentry WHERE id = %s", chain[1].pk)
    assert places(broken()) == (2, chain[1].pk)
    assert "deleted" in broken().what


def test_a_deleted_seal_is_named(chain: list[AuditEntry]) -> None:
    tamper("DELETE FROM outbox_auditseal WHERE position = 2")
    assert places(broken()) == (2, None)


def test_an_entry_deleted_with_its_seal_is_named(chain: list[AuditEntry]) -> None:
    tamper("DELETE FROM outbox_auditseal WHERE position = 1")
    tamper("DELETE FROM outbox_auditentry WHERE id = %s", chain[0].pk)
    assert places(broken()) == (1, None)


def test_a_gap_that_was_closed_by_moving_up_is_named(chain: list[AuditEntry]) -> None:
    tamper("DELETE FROM outbox_auditseal WHERE position = 2")
    for position in (3, 4, 5):
        tamper("UPDATE outbox_auditseal SET position = %s WHERE position = %s", position - 1, position)
    assert places(broken()) == (2, chain[2].pk)


def test_two_entries_that_changed_places_are_named(chain: list[AuditEntry]) -> None:
    one, two = chain[1].pk, chain[2].pk
    for old, new in ((one, -1), (two, one), (-1, two)):
        tamper("UPDATE outbox_auditentry SET id = %s WHERE id = %s", new, old)
    assert places(broken()) == (2, one)
    assert "another entry" in broken().what


def test_an_inserted_entry_is_named_before_and_after_it_is_sealed(chain: list[AuditEntry]) -> None:
    tamper(
        f"INSERT INTO outbox_auditentry ({COLUMNS}) SELECT %s, now(), 'user:bob', source, ip, request_id, action, "
        "target_type, target_id, target_name, before, after, reason, key_id, mac FROM outbox_auditentry WHERE id = %s",
        uuid4(),
        chain[0].pk,
    )
    forged = AuditEntry.objects.latest("pk").pk
    assert places(broken()) == (None, forged)
    seal_committed()
    assert places(broken()) == (6, forged)


def test_a_copy_of_a_genuine_entry_is_named(chain: list[AuditEntry]) -> None:
    constraint = "outbox_auditentry_uid_key"
    tamper(f"ALTER TABLE outbox_auditentry DROP CONSTRAINT {constraint}")
    try:
        tamper(
            f"INSERT INTO outbox_auditentry ({COLUMNS}) SELECT {COLUMNS} FROM outbox_auditentry WHERE id = %s",
            chain[0].pk,
        )
        seal_committed()
        copy = AuditEntry.objects.latest("pk").pk
        assert broken() == Broken("the entry is a copy of an earlier one", entry_id=copy)
    finally:
        tamper("DELETE FROM outbox_auditentry")
        tamper(f"ALTER TABLE outbox_auditentry ADD CONSTRAINT {constraint} UNIQUE (uid)")


def cut_off_after(position: int) -> None:
    tamper(
        "DELETE FROM outbox_auditentry WHERE id IN (SELECT entry_id FROM outbox_auditseal WHERE position > %s)",
        position,
    )
    tamper("DELETE FROM outbox_auditseal WHERE position > %s", position)


def test_a_chain_cut_off_is_shown_by_a_checkpoint(chain: list[AuditEntry]) -> None:
    checkpoint = take_checkpoint()
    act(5)
    assert verify(checkpoint=checkpoint).broken is None
    cut_off_after(3)
    assert verify().broken is None
    found = verify(checkpoint=checkpoint).broken
    assert found is not None
    assert (found.position, "cut off" in found.what) == (4, True)


def test_a_chain_cut_off_and_grown_again_is_shown_by_a_checkpoint(chain: list[AuditEntry]) -> None:
    checkpoint = take_checkpoint()
    cut_off_after(3)
    for n in range(3):
        act(n)
    seal_committed()
    assert verify().broken is None
    found = verify(checkpoint=checkpoint).broken
    assert found is not None
    assert (found.position, "anew" in found.what) == (5, True)


def test_a_late_committer_is_sealed_after_those_that_were_quicker() -> None:
    written, may_commit = Event(), Event()

    def commit_late() -> None:
        try:
            with transaction.atomic():
                act(1)
                written.set()
                assert may_commit.wait(30)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(commit_late)
        assert written.wait(30)
        act(2)
        assert seal_committed() == 1
        may_commit.set()
        late.result(30)
    assert seal_committed() == 1
    first, second = AuditSeal.objects.order_by("position").select_related("entry")
    assert (first.entry.target_id, second.entry.target_id) == ("2", "1")
    assert first.entry_id > second.entry_id
    assert verify().broken is None


def test_who_commits_very_late_is_found_by_the_look_at_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "LOOK_BACK", 2)
    entries = [act(n) for n in range(4)]
    assert seal_committed() == 2
    assert verify().unsealed == 2
    assert seal_committed(everything=True) == 2
    assert set(AuditSeal.objects.values_list("entry_id", flat=True)) == {entry.pk for entry in entries}


def test_many_sealers_at_once_make_one_chain() -> None:
    def run(worker: int) -> None:
        try:
            for n in range(20):
                act(n, actor=f"system:{worker}")
                seal_committed()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    verdict = verify()
    assert (verdict.broken, verdict.head.position, verdict.unsealed) == (None, 80, 0)


def test_a_backlog_is_sealed_in_chunks(monkeypatch: pytest.MonkeyPatch, chain: list[AuditEntry]) -> None:
    monkeypatch.setattr(sealing, "CHUNK", 2)
    for n in range(5):
        act(n)
    assert seal_committed() == 5
    assert verify().head.position == 10


def test_keys_rotate_while_the_old_one_stays(settings: Settings, chain: list[AuditEntry]) -> None:
    old = dict(settings.AUDIT_KEYS)
    settings.AUDIT_KEYS = {"new": "n" * 40, **old}
    entry = act(5)
    seal_committed()
    assert entry.key_id == "new"
    assert verify().broken is None
    settings.AUDIT_KEYS = {"new": "n" * 40}
    assert places(broken()) == (1, chain[0].pk)
    assert "not in AUDIT_KEYS" in broken().what


def test_a_long_log_is_verified_piece_by_piece(chain: list[AuditEntry]) -> None:
    first = verify(limit=2)
    assert (first.head.position, first.complete) == (2, False)
    rest = verify(after=first.head)
    assert (rest.head.position, rest.checked, rest.complete, rest.broken) == (5, 3, True, None)


def test_the_command_names_the_first_broken_row(
    chain: list[AuditEntry], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("audit_checkpoint")
    checkpoint = capsys.readouterr().out
    (tmp_path / "checkpoint").write_text(checkpoint)
    call_command("verify_audit", checkpoint=checkpoint)
    assert "whole: verified up to position 5" in capsys.readouterr().out
    cut_off_after(4)
    with pytest.raises(CommandError, match="position 5: the chain was cut off"):
        call_command("verify_audit", checkpoint=str(tmp_path / "checkpoint"))
    tamper("UPDATE outbox_auditentry SET actor = 'user:eve' WHERE id = %s", chain[1].pk)
    with pytest.raises(CommandError, match=f"position 2, entry {chain[1].pk}: the entry was changed"):
        call_command("verify_audit")


@pytest.mark.parametrize("text", ["nonsense", "5:beef", "five:" + "0" * 64])
def test_a_checkpoint_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="--checkpoint"):
        call_command("verify_audit", checkpoint=text)
